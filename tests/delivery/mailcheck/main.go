// Reads emails, each after its length in four octets, and says of each, as a line of JSON, what Go's own parsers find
// in it and which rules of RFC 5322, 2045, 2046 and 2047 it breaks.
package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"regexp"
	"strings"
	"unicode/utf8"
)

type part struct {
	Type    string
	Charset string
	Text    string
}

type report struct {
	Problems []string
	Subject  string
	From     *mail.Address
	To       *mail.Address
	ReplyTo  []*mail.Address
	Headers  map[string][]string
	Parts    []part
}

var (
	headerName  = regexp.MustCompile(`^[!-9;-~]+$`)
	encodedWord = regexp.MustCompile(`=\?[^?\s]+\?[bBqQ]\?[^?\s]*\?=`)
	messageID   = regexp.MustCompile(`^<[^<>@\s]+@[^<>@\s]+>$`)
	once        = []string{"From", "To", "Subject", "Date", "Message-Id", "Mime-Version", "Content-Type", "Reply-To"}
	needed      = []string{"From", "To", "Date", "Message-Id", "Mime-Version", "Content-Type"}
)

func (r *report) complain(format string, values ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, values...))
}

func (r *report) lintLines(data []byte) {
	for index, line := range bytes.Split(data, []byte("\r\n")) {
		if bytes.ContainsAny(line, "\r\n") {
			r.complain("line %d: a bare CR or LF", index)
		}
		if len(line) > 998 {
			r.complain("line %d: %d octets", index, len(line))
		}
		for _, octet := range line {
			if octet == 0 || octet > 127 {
				r.complain("line %d: octet %d", index, octet)
				break
			}
		}
	}
}

func (r *report) lintHead(head string) {
	for index, line := range strings.Split(head, "\r\n") {
		folded := strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t")
		if folded && strings.TrimSpace(line) == "" {
			r.complain("header line %d: folded to nothing", index)
		}
		if name, _, found := strings.Cut(line, ":"); !folded && (!found || !headerName.MatchString(name)) {
			r.complain("header line %d: no name", index)
		}
		words := encodedWord.FindAllString(line, -1)
		if len(words) > 0 && len(line) > 76 {
			r.complain("header line %d: %d characters with an encoded word", index, len(line))
		}
		for _, word := range words {
			text, err := new(mime.WordDecoder).Decode(word)
			if len(word) > 75 || err != nil || !utf8.ValidString(text) {
				r.complain("header line %d: encoded word %q: %v", index, word, err)
			}
		}
	}
}

func (r *report) lintFields(header mail.Header) {
	for _, name := range once {
		if len(header[name]) > 1 {
			r.complain("%s stands there %d times", name, len(header[name]))
		}
	}
	for _, name := range needed {
		if header.Get(name) == "" {
			r.complain("no %s", name)
		}
	}
	if _, err := header.Date(); err != nil {
		r.complain("Date: %v", err)
	}
	if !messageID.MatchString(header.Get("Message-Id")) {
		r.complain("Message-ID: %q", header.Get("Message-Id"))
	}
}

func (r *report) addresses(header mail.Header) {
	var err error
	if r.From, err = mail.ParseAddress(header.Get("From")); err != nil {
		r.complain("From: %v", err)
	}
	if r.To, err = mail.ParseAddress(header.Get("To")); err != nil {
		r.complain("To: %v", err)
	}
	if header.Get("Reply-To") != "" {
		if r.ReplyTo, err = header.AddressList("Reply-To"); err != nil {
			r.complain("Reply-To: %v", err)
		}
	}
	if r.Subject, err = new(mime.WordDecoder).DecodeHeader(header.Get("Subject")); err != nil {
		r.complain("Subject: %v", err)
	}
}

func (r *report) body(contentType, encoding string, body io.Reader) {
	kind, parameters, err := mime.ParseMediaType(contentType)
	if err != nil {
		r.complain("Content-Type: %v", err)
		return
	}
	if strings.HasPrefix(kind, "multipart/") {
		reader := multipart.NewReader(body, parameters["boundary"])
		for {
			one, err := reader.NextRawPart()
			if err == io.EOF {
				return
			}
			if err != nil {
				r.complain("multipart: %v", err)
				return
			}
			r.body(one.Header.Get("Content-Type"), one.Header.Get("Content-Transfer-Encoding"), one)
		}
	}
	data, err := io.ReadAll(body)
	if err == nil {
		data, err = r.decoded(encoding, data)
	}
	if err != nil || !utf8.Valid(data) {
		r.complain("%s part: %v", kind, err)
	}
	r.Parts = append(r.Parts, part{kind, parameters["charset"], string(data)})
}

func (r *report) decoded(encoding string, data []byte) ([]byte, error) {
	if encoding != "7bit" {
		for _, line := range bytes.Split(data, []byte("\r\n")) {
			if len(line) > 76 {
				r.complain("an encoded line of %d characters", len(line))
			}
		}
	}
	switch encoding {
	case "7bit":
		return data, nil
	case "quoted-printable":
		return io.ReadAll(quotedprintable.NewReader(bytes.NewReader(data)))
	case "base64":
		return base64.StdEncoding.DecodeString(strings.ReplaceAll(string(data), "\r\n", ""))
	}
	return nil, fmt.Errorf("Content-Transfer-Encoding %q", encoding)
}

func inspect(data []byte) *report {
	r := &report{Problems: []string{}}
	r.lintLines(data)
	head, _, _ := strings.Cut(string(data), "\r\n\r\n")
	r.lintHead(head)
	message, err := mail.ReadMessage(bytes.NewReader(data))
	if err != nil {
		r.complain("message: %v", err)
		return r
	}
	r.Headers = message.Header
	r.lintFields(message.Header)
	r.addresses(message.Header)
	r.body(message.Header.Get("Content-Type"), message.Header.Get("Content-Transfer-Encoding"), message.Body)
	return r
}

func main() {
	in, out := bufio.NewReader(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var size uint32
		if binary.Read(in, binary.BigEndian, &size) != nil {
			return
		}
		data := make([]byte, size)
		if _, err := io.ReadFull(in, data); err != nil {
			return
		}
		if err := out.Encode(inspect(data)); err != nil {
			return
		}
	}
}
