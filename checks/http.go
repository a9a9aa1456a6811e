package checks

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"

	"github.com/anyvip/anyvip/pkg/vip"
)

const (
	maxHeader = 64 << 10 // bytes of an answer's header that are read, informational answers included
	maxBody   = 1 << 20  // bytes of an answer's content that are searched for HTTP.Body
)

// HTTP asks a URL and judges the status of the answer and, where wanted, its
// content.
//
// Each probe is one HTTP/1.1 exchange on a new connection, so that a listener
// that died shows. It follows no redirect, uses no proxy, and reads no more of
// the answer than it needs: without Body, the header alone.
type HTTP struct {
	URL     string   `yaml:"url" doc:"http://HOST[:PORT]/PATH or https://..."`
	Method  string   `yaml:"method" default:"GET" doc:"GET, HEAD, OPTIONS or POST"`
	Headers []Header `yaml:"headers" doc:"sent with the request; a Host header replaces the host of the URL"`
	Status  []int    `yaml:"status" doc:"wanted status codes; default: 200 to 299"`
	Body    string   `yaml:"body" doc:"must appear in the first MiB of the content; default: the content is not read"`
	TLS     *TLS     `yaml:"tls" doc:"for https: whom to trust"`
}

// Header is one header field of a request.
type Header struct {
	Name  string `yaml:"name"`
	Value string `yaml:"value"`
}

// Describe returns http and the URL.
func (h *HTTP) Describe() (name, target string) { return "http", h.URL }

func (h *HTTP) connectsTo() string {
	req, err := http.NewRequest(h.Method, h.URL, nil)
	if err != nil {
		return ""
	}
	return hostPort(req)
}

// Checker prepares the request.
func (h *HTTP) Checker() (Checker, error) {
	req, err := http.NewRequest(h.Method, h.URL, nil)
	if err != nil {
		return nil, err
	}
	req.Close = true
	req.Header.Set("User-Agent", "anyvip")
	given := make(http.Header)
	for _, f := range h.Headers {
		given.Add(f.Name, f.Value)
	}
	for name, values := range given {
		req.Header[name] = values
	}
	if host := given.Get("Host"); host != "" {
		req.Host = host
	}
	c := &httpChecker{HTTP: h, address: hostPort(req), method: req.Method}
	if req.URL.Scheme == "https" {
		c.trust = newTrust(h.TLS, req.URL.Hostname(), "http/1.1")
	}
	var wire bytes.Buffer
	if err := req.Write(&wire); err != nil {
		return nil, err
	}
	c.request = wire.Bytes()
	return c, nil
}

// hostPort is where to connect to.
func hostPort(req *http.Request) string {
	port := req.URL.Port()
	switch {
	case port != "":
	case req.URL.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	return net.JoinHostPort(req.URL.Hostname(), port)
}

// httpChecker does the exchange by hand, on net/http's codecs: its Transport
// is made to keep connections, costs two goroutines per probe, and wraps a
// malformed answer in the same way as a broken connection.
type httpChecker struct {
	*HTTP
	address string
	method  string
	request []byte // as it goes out
	trust   *trust // nil: plain HTTP
}

// Probe connects, asks, and judges the answer.
func (h *httpChecker) Probe(ctx context.Context) vip.Result {
	c, err := dial(ctx, "tcp", h.address)
	if err != nil {
		return failure("connect to "+h.address, err, vip.ClassUnreachable)
	}
	defer c.Close()
	if h.trust == nil {
		return h.exchange(c)
	}
	s, failed := h.trust.handshake(c)
	if failed != nil {
		return *failed
	}
	defer s.Close()
	return h.exchange(s)
}

// exchange sends the request and reads as much of the answer as it takes. The
// answer's Body is not closed: that would read it to its end, and there is
// nothing in it but the connection, which the caller closes.
func (h *httpChecker) exchange(c net.Conn) vip.Result {
	if _, err := c.Write(h.request); err != nil {
		return failure("send the request", err, vip.ClassProtocol)
	}
	in := &input{Reader: c, left: maxHeader}
	resp, err := readHeader(bufio.NewReader(in), h.method)
	if err != nil {
		return failure("wait for the answer", cmp.Or(in.cause, err), vip.ClassProtocol)
	}
	if !h.wanted(resp.StatusCode) {
		return vip.Result{Outcome: vip.Fail, Class: vip.ClassStatus, Detail: fmt.Sprintf("status %s, not %s", resp.Status, h.wantedText())}
	}
	if h.Body != "" {
		in.left = math.MaxInt64 // find has its own limit
		found, err := find(resp.Body, h.Body, maxBody)
		if err != nil {
			return failure(fmt.Sprintf("status %s, read the content", resp.Status), err, vip.ClassProtocol)
		}
		if !found {
			return vip.Result{Outcome: vip.Fail, Class: vip.ClassBody, Detail: fmt.Sprintf("status %s, but no %q in the content", resp.Status, h.Body)}
		}
	}
	return vip.Result{Outcome: vip.Pass, Detail: "status " + resp.Status}
}

// input reads from a connection until a limit, and keeps what broke it, since
// net/http's codec takes a line that was cut off for a malformed one.
type input struct {
	io.Reader
	left  int
	cause error // neither nil nor the connection's regular end
}

var errLongHeader = fmt.Errorf("the header is longer than %d KiB", maxHeader>>10)

func (in *input) Read(p []byte) (int, error) {
	if in.left == 0 {
		in.cause = errLongHeader
		return 0, in.cause
	}
	n, err := in.Reader.Read(p[:min(len(p), in.left)])
	in.left -= n
	if !errors.Is(err, io.EOF) {
		in.cause = err
	}
	return n, err
}

// readHeader reads up to the final answer's header (RFC 9110, section 15.2:
// informational ones may come first).
func readHeader(r *bufio.Reader, method string) (*http.Response, error) {
	req := &http.Request{Method: method}
	for {
		resp, err := http.ReadResponse(r, req)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode >= 200 {
			return resp, nil
		}
		if resp.StatusCode < 100 || resp.StatusCode == http.StatusSwitchingProtocols {
			return nil, errors.New("an answer that nobody asked for: " + resp.Status)
		}
	}
}

func (h *httpChecker) wanted(status int) bool {
	if len(h.Status) == 0 {
		return 200 <= status && status <= 299
	}
	return slices.Contains(h.Status, status)
}

func (h *httpChecker) wantedText() string {
	if len(h.Status) == 0 {
		return "200 to 299"
	}
	return fmt.Sprint(h.Status)
}
