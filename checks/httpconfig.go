package checks

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/anyvip/anyvip/pkg/vip"
)

// Validate finds what is wrong.
func (h *HTTP) Validate() []vip.Problem {
	u, ps := h.validateURL()
	methods := []string{"", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPost}
	if !slices.Contains(methods, h.Method) {
		ps = append(ps, vip.Problem{Path: "method", Value: h.Method, Message: "is not supported", Allowed: strings.Join(methods[1:], ", ")})
	}
	for i, f := range h.Headers {
		ps = append(ps, vip.Under(fmt.Sprintf("headers[%d]", i), f.validate())...)
	}
	for i, s := range h.Status {
		ps = append(ps, within(fmt.Sprintf("status[%d]", i), s, 200, 599, "200 to 599")...)
	}
	ps = append(ps, validateWanted("body", h.Body)...)
	if h.Body != "" && h.Method == http.MethodHead {
		ps = append(ps, vip.Problem{Path: "body", Value: h.Body, Message: "can never appear: an answer to HEAD has no content"})
	}
	if h.TLS != nil {
		if u != nil && u.Scheme == "http" {
			ps = append(ps, vip.Problem{Path: "tls", Message: "has no meaning for an http URL", Allowed: "only with https://"})
		}
		ps = append(ps, vip.Under("tls", h.TLS.validate())...)
	}
	return ps
}

// validateURL returns the URL too, or nil.
func (h *HTTP) validateURL() (*url.URL, []vip.Problem) {
	problem := func(message string) (*url.URL, []vip.Problem) {
		return nil, []vip.Problem{{Path: "url", Value: h.URL, Message: message, Allowed: "http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH"}}
	}
	if h.URL == "" {
		return problem("is missing")
	}
	u, err := url.Parse(h.URL)
	switch {
	case err != nil:
		return problem("is no URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return problem("has another scheme than http or https")
	case u.Hostname() == "":
		return problem("names no host")
	case u.User != nil:
		h := HTTP{URL: u.Redacted()} // a password goes neither to the terminal nor to the log
		return nil, []vip.Problem{{Path: "url", Value: h.URL, Message: "carries a user name, which is shown wherever the URL is", Allowed: "an Authorization header"}}
	case u.Port() != "":
		return u, validateAddress("url", net.JoinHostPort(u.Hostname(), u.Port()))
	}
	return u, nil
}

// ownHeaders are those that the probe sets itself.
var ownHeaders = []string{"Connection", "Content-Length", "Trailer", "Transfer-Encoding"}

// validate holds a header to RFC 9110, section 5: net/http would leave out or
// change silently what is not allowed there.
func (f Header) validate() (ps []vip.Problem) {
	switch {
	case f.Name == "":
		ps = append(ps, vip.Problem{Path: "name", Message: "is missing"})
	case strings.ContainsFunc(f.Name, func(r rune) bool { return !isToken(r) }):
		ps = append(ps, vip.Problem{Path: "name", Value: strconv.Quote(f.Name), Message: "is no header name", Allowed: "letters, digits and !#$%&'*+-.^_`|~"})
	case slices.Contains(ownHeaders, http.CanonicalHeaderKey(f.Name)):
		ps = append(ps, vip.Problem{Path: "name", Value: f.Name, Message: "is set by the probe itself"})
	}
	if strings.ContainsFunc(f.Value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		ps = append(ps, vip.Problem{Path: "value", Value: strconv.Quote(f.Value), Message: "has control characters"})
	}
	return ps
}

func isToken(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}
