"""Reports as other mail systems write them."""

import smtplib


def dsn(status="5.1.1", action="failed", diagnostic="smtp; 550 5.1.1 User unknown", extra=""):
    """A delivery status notification in RFC 3464's form."""
    return (
        "From: MAILER-DAEMON@mx.example.net\r\nSubject: Undelivered mail\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b1"\r\n\r\n'
        "--b1\r\nContent-Type: text/plain\r\n\r\nI am sorry.\r\n"
        "--b1\r\nContent-Type: message/delivery-status\r\n\r\n"
        f"Reporting-MTA: dns; mx.example.net\r\nArrival-Date: Tue, 24 Nov 2026 10:00:00 +0000\r\n{extra}\r\n"
        f"Final-Recipient: rfc822; someone@example.net\r\nAction: {action}\r\nStatus: {status}\r\n"
        f"Diagnostic-Code: {diagnostic}\r\n\r\n"
        "--b1\r\nContent-Type: text/rfc822-headers\r\n\r\nSubject: Hello\r\n\r\n--b1--\r\n"
    )


def arf(sender, feedback_type="abuse"):
    """An abuse report in RFC 5965's form."""
    return (
        "From: fbl@isp.example\r\nSubject: FW: Hello\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=feedback-report; boundary="b2"\r\n\r\n'
        "--b2\r\nContent-Type: text/plain\r\n\r\nThis is an abuse report.\r\n"
        "--b2\r\nContent-Type: message/feedback-report\r\n\r\n"
        f"Feedback-Type: {feedback_type}\r\nUser-Agent: Loop/1.0\r\nVersion: 1\r\n"
        f"Original-Mail-From: <{sender}>\r\n\r\n"
        "--b2\r\nContent-Type: message/rfc822\r\n\r\nSubject: Hello\r\n\r\nHi\r\n--b2--\r\n"
    )


def deliver(post, recipient, content):
    """Hand a mail to the bounce server; the replies to its recipient and its content."""
    with smtplib.SMTP("127.0.0.1", post.bounce_port, timeout=20) as client:
        client.ehlo()
        client.mail("")
        code, _ = client.rcpt(recipient)
        return (code, client.data(content)[0]) if code == 250 else (code, None)
