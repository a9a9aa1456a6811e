package checks

import (
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/anyvip/anyvip/pkg/vip"
)

// newTLSServer answers 200 with a certificate that its own CA file vouches for,
// made out to example.com and 127.0.0.1.
func newTLSServer(t *testing.T) (url, caFile string) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains about each handshake that we end
	s.StartTLS()
	t.Cleanup(s.Close)
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	writeFile(t, caFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	return s.URL, caFile
}

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestHTTPS(t *testing.T) {
	url, ca := newTLSServer(t)
	for _, tc := range []struct {
		name    string
		tls     *TLS
		outcome vip.Outcome
		class   vip.Class
		detail  string // how it starts
	}{
		{"a certificate that the CA file vouches for", &TLS{CAFile: ca}, vip.Pass, vip.ClassNone, "status 200 OK"},
		{"made out to the name that we ask for", &TLS{CAFile: ca, ServerName: "example.com"}, vip.Pass, vip.ClassNone, "status 200 OK"},
		{"made out to another name", &TLS{CAFile: ca, ServerName: "www.example.org"}, vip.Fail, vip.ClassTLS,
			"TLS handshake: tls: failed to verify certificate: x509: certificate is valid for "},
		{"of an unknown CA", nil, vip.Fail, vip.ClassTLS, "TLS handshake: tls: failed to verify certificate: x509: certificate signed by unknown authority"},
		{"of an unknown CA, and nobody cares", &TLS{InsecureSkipVerify: true}, vip.Pass, vip.ClassNone, "status 200 OK"},
		{"a CA file that is not there", &TLS{CAFile: "/no/ca.pem"}, vip.Error, vip.ClassLocal, "ca_file: open /no/ca.pem: no such file or directory"},
		{"a CA file without a certificate", &TLS{CAFile: "/dev/null"}, vip.Error, vip.ClassLocal, "ca_file: /dev/null has no certificate in it"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := probe(t, &HTTP{URL: url, TLS: tc.tls}, long)
			if !strings.HasPrefix(got.Detail, tc.detail) {
				t.Errorf("detail %q, want %q...", got.Detail, tc.detail)
			}
			got.Detail = ""
			expect(t, got, tc.outcome, tc.class, "")
		})
	}
}

func TestHTTPSHandshakeFaults(t *testing.T) {
	for _, tc := range []struct {
		name   string
		handle func(*net.TCPConn)
		class  vip.Class
		detail string
	}{
		{"a server without TLS", says("HTTP/1.1 400 Bad Request\r\n\r\n"), vip.ClassTLS, "TLS handshake: tls: first record does not look like a TLS handshake"},
		{"a server that never answers", silent, vip.ClassTimeout, "TLS handshake: timed out"},
		{"a server that answers in a trickle", trickles("\x16\x03\x03\x40\x00", 0), vip.ClassTimeout, "TLS handshake: timed out"},
		{"a server that closes", says(""), vip.ClassReset, "TLS handshake: the connection was closed in the middle"},
		{"a server that resets", resets(""), vip.ClassReset, "TLS handshake: connection reset by peer"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			timeout := long
			if tc.class == vip.ClassTimeout {
				timeout = short
			}
			expect(t, probe(t, &HTTP{URL: "https://" + serve(t, tc.handle)}, timeout), vip.Fail, tc.class, tc.detail)
		})
	}
}

func TestACAFileThatChangesCountsAtTheNextProbe(t *testing.T) {
	url, good := newTLSServer(t)
	content, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	c, err := (&HTTP{URL: url, TLS: &TLS{CAFile: file}}).Checker()
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		content string
		want    vip.Outcome
	}{{"", vip.Error}, {string(content), vip.Pass}, {"rubbish", vip.Error}, {string(content), vip.Pass}} {
		writeFile(t, file, step.content)
		if got := c.Probe(t.Context()); got.Outcome != step.want {
			t.Errorf("with %.10q in the file: %+v", step.content, got)
		}
	}
}
