package checks

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anyvip/anyvip/pkg/vip"
)

func TestHTTP(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, tc := range []struct {
		name    string
		handle  func(*net.TCPConn)
		http    HTTP
		timeout time.Duration
		outcome vip.Outcome
		class   vip.Class
		detail  string
	}{
		{"any 2xx passes", says("HTTP/1.1 204 No Content\r\n\r\n"), HTTP{}, long, vip.Pass, vip.ClassNone, "status 204 No Content"},
		{"a redirect is not followed, and no pass", says("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n"), HTTP{}, long,
			vip.Fail, vip.ClassStatus, "status 302 Found, not 200 to 299"},
		{"a redirect that is wanted", says("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n"), HTTP{Status: []int{200, 302}}, long, vip.Pass, vip.ClassNone, "status 302 Found"},
		{"another status than the one wanted", says("HTTP/1.1 204 No Content\r\n\r\n"), HTTP{Status: []int{200}}, long,
			vip.Fail, vip.ClassStatus, "status 204 No Content, not [200]"},
		{"503", says("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"), HTTP{}, long,
			vip.Fail, vip.ClassStatus, "status 503 Service Unavailable, not 200 to 299"},
		{"informational answers come first", says("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok + "\r\n"), HTTP{}, long,
			vip.Pass, vip.ClassNone, "status 200 OK"},
		{"HTTP/1.0", says("HTTP/1.0 200 OK\r\n\r\nfine"), HTTP{Body: "fine"}, long, vip.Pass, vip.ClassNone, "status 200 OK"},
		{"HEAD", says(ok + "Content-Length: 100\r\n\r\n"), HTTP{Method: "HEAD"}, long, vip.Pass, vip.ClassNone, "status 200 OK"},
		{"the wanted content", says(ok + "Content-Length: 15\r\n\r\nstatus: healthy"), HTTP{Body: "healthy"}, long, vip.Pass, vip.ClassNone, "status 200 OK"},
		{"the wanted content in chunks", says(ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nhea\r\n4\r\nlthy\r\n0\r\n\r\n"), HTTP{Body: "healthy"}, long,
			vip.Pass, vip.ClassNone, "status 200 OK"},
		{"other content", says(ok + "Content-Length: 4\r\n\r\nsick"), HTTP{Body: "healthy"}, long,
			vip.Fail, vip.ClassBody, `status 200 OK, but no "healthy" in the content`},
		{"content that goes on for ever passes once seen", trickles(ok+"\r\nhealth", 'y'), HTTP{Body: "healthy"}, long, vip.Pass, vip.ClassNone, "status 200 OK"},

		{"no answer", silent, HTTP{}, short, vip.Fail, vip.ClassTimeout, "wait for the answer: timed out"},
		{"a header in a trickle", trickles(ok+"X-Slow: ", 'x'), HTTP{}, short, vip.Fail, vip.ClassTimeout, "wait for the answer: timed out"},
		{"a status line in a trickle", trickles("HTTP/1.1", '1'), HTTP{}, short, vip.Fail, vip.ClassTimeout, "wait for the answer: timed out"},
		{"content in a trickle", trickles(ok+"\r\n", 'x'), HTTP{Body: "healthy"}, short, vip.Fail, vip.ClassTimeout, "status 200 OK, read the content: timed out"},
		{"closed without an answer", says(""), HTTP{}, long, vip.Fail, vip.ClassReset, "wait for the answer: the connection was closed in the middle"},
		{"closed after a line of the header", says(ok + "Content-Length: 5\r\n"), HTTP{}, long, vip.Fail, vip.ClassReset, "wait for the answer: the connection was closed in the middle"},
		{"closed within the content", says(ok + "Content-Length: 100\r\n\r\nabc"), HTTP{Body: "healthy"}, long,
			vip.Fail, vip.ClassReset, "status 200 OK, read the content: the connection was closed in the middle"},
		{"closed within a line of the header", says(ok + "Content-Le"), HTTP{}, long, vip.Fail, vip.ClassProtocol,
			`wait for the answer: malformed MIME header: missing colon: "Content-Le"`},
		{"reset within a line of the header", resets(ok + "Content-Le"), HTTP{}, long, vip.Fail, vip.ClassReset, "wait for the answer: connection reset by peer"},
		{"reset before the answer", resets(""), HTTP{}, long, vip.Fail, vip.ClassReset, "wait for the answer: connection reset by peer"},
		{"no HTTP", says("SSH-2.0-OpenSSH_9.2\r\n"), HTTP{}, long, vip.Fail, vip.ClassProtocol,
			`wait for the answer: malformed HTTP response "SSH-2.0-OpenSSH_9.2"`},
		{"no status", says("HTTP/1.1 fine\r\n\r\n"), HTTP{}, long, vip.Fail, vip.ClassProtocol, `wait for the answer: malformed HTTP status code "fine"`},
		{"an upgrade that nobody asked for", says("HTTP/1.1 101 Switching Protocols\r\n\r\n"), HTTP{}, long, vip.Fail, vip.ClassProtocol,
			"wait for the answer: an answer that nobody asked for: 101 Switching Protocols"},
		{"malformed chunks", says(ok + "Transfer-Encoding: chunked\r\n\r\nzzz\r\n"), HTTP{Body: "healthy"}, long, vip.Fail, vip.ClassProtocol,
			"status 200 OK, read the content: invalid byte in chunk length"},
		{"a header without end", says(ok + strings.Repeat("X: y\r\n", maxHeader/6)), HTTP{}, long, vip.Fail, vip.ClassProtocol,
			"wait for the answer: the header is longer than 64 KiB"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.http.URL = "http://" + serve(t, tc.handle) + "/healthz"
			expect(t, probe(t, &tc.http, tc.timeout), tc.outcome, tc.class, tc.detail)
		})
	}
}

func TestHTTPWithoutAConnection(t *testing.T) {
	refused, dropped := nobody(t), deaf(t)
	expect(t, probe(t, &HTTP{URL: "http://" + refused}, long), vip.Fail, vip.ClassRefused, "connect to "+refused+": connection refused")
	expect(t, probe(t, &HTTP{URL: "http://" + dropped}, short), vip.Fail, vip.ClassTimeout, "connect to "+dropped+": timed out")
	expect(t, probe(t, &HTTP{URL: "http://no..such/"}, long), vip.Error, vip.ClassResolve, "connect to no..such:80: lookup no..such: no such host")
	expect(t, probe(t, &HTTP{URL: "https://255.255.255.255/"}, long), vip.Fail, vip.ClassUnreachable, "connect to 255.255.255.255:443: network is unreachable")
}

func TestHTTPRequest(t *testing.T) {
	for _, tc := range []struct {
		name string
		http HTTP
		want string // HOST stands for the server's address
	}{
		{"nothing special", HTTP{}, "GET /a?b=c HTTP/1.1\r\nHost: HOST\r\nUser-Agent: anyvip\r\nConnection: close\r\n\r\n"},
		{"with headers", HTTP{Method: "OPTIONS", Headers: []Header{{"host", "www.example.net"}, {"X-A", "1"}, {"x-a", "2"}, {"User-Agent", "probe"}}},
			"OPTIONS /a?b=c HTTP/1.1\r\nHost: www.example.net\r\nUser-Agent: probe\r\nConnection: close\r\nX-A: 1\r\nX-A: 2\r\n\r\n"},
		{"POST", HTTP{Method: "POST"}, "POST /a?b=c HTTP/1.1\r\nHost: HOST\r\nUser-Agent: anyvip\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv("HTTP_PROXY", "http://"+nobody(t)) // is not looked at
			heard := make(chan string, 1)
			address := serve(t, func(c *net.TCPConn) {
				buf := make([]byte, 4096)
				n, _ := c.Read(buf)
				heard <- string(buf[:n])
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
			})
			tc.http.URL = "http://" + address + "/a?b=c#fragment"
			expect(t, probe(t, &tc.http, long), vip.Pass, vip.ClassNone, "status 200 OK")
			if diff := cmp.Diff(strings.ReplaceAll(tc.want, "HOST", address), <-heard); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEachHTTPProbeIsANewConnection(t *testing.T) {
	var connections atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.Start()
	h := &HTTP{URL: s.URL}
	for range 3 {
		expect(t, probe(t, h, long), vip.Pass, vip.ClassNone, "status 200 OK")
	}
	if n := connections.Load(); n != 3 {
		t.Errorf("%d connections for 3 probes", n)
	}
	s.Close()
	if got := probe(t, h, long); got.Class != vip.ClassRefused {
		t.Errorf("with the listener gone: %+v", got)
	}
}

// A server that sends 1 GB costs what was asked for: nothing but its header, or
// 1 MiB of content. The rest that it can get rid of is what two socket buffers
// hold.
func TestHTTPDoesNotReadAGigabyte(t *testing.T) {
	for _, tc := range []struct {
		name    string
		body    string
		outcome vip.Outcome
		class   vip.Class
		detail  string
	}{
		{"without body", "", vip.Pass, vip.ClassNone, "status 200 OK"},
		{"with a body that never appears", "healthy", vip.Fail, vip.ClassBody, `status 200 OK, but no "healthy" in the content`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			handle, sent := floods(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", gigabyte), 'y')
			k := &HTTP{URL: "http://" + serve(t, handle), Body: tc.body}
			expect(t, cheap(t, k, long, sent), tc.outcome, tc.class, tc.detail)
		})
	}
}

func TestHTTPWithoutDescriptorsCouldNotAsk(t *testing.T) {
	address := serve(t, says("HTTP/1.1 200 OK\r\n\r\n"))
	h := &HTTP{URL: "http://" + address}
	expect(t, probe(t, h, long), vip.Pass, vip.ClassNone, "status 200 OK")
	withoutDescriptors(t, func() {
		expect(t, probe(t, h, long), vip.Error, vip.ClassLocal, "connect to "+address+": too many open files")
	})
	expect(t, probe(t, h, long), vip.Pass, vip.ClassNone, "status 200 OK")
}
