"""The plainest email a campaign may send, and how to tell one that has arrived."""

import re

EMAIL = {"EmailMessage": {"FromAddress": "shop@example.com", "Title": "Hi", "Body": "Hello {{Address}}"}}
MESSAGE_ID = re.compile(rb"^Message-ID: <([^@]+)@", re.MULTILINE)
