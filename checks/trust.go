package checks

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/anyvip/anyvip/pkg/vip"
)

// TLS says whom to trust.
type TLS struct {
	CAFile             string `yaml:"ca_file" doc:"certificates (PEM) to trust instead of the system's; absolute path, read at each probe"`
	ServerName         string `yaml:"server_name" doc:"name to ask for (SNI) and to find in the certificate; default: the host that is asked"`
	InsecureSkipVerify bool   `yaml:"insecure_skip_verify" doc:"take any certificate"`
}

func (t *TLS) validate() (ps []vip.Problem) {
	if t.CAFile != "" && !filepath.IsAbs(t.CAFile) {
		ps = append(ps, vip.Problem{Path: "ca_file", Value: t.CAFile, Message: "is not an absolute path"})
	}
	if t.CAFile != "" && t.InsecureSkipVerify {
		ps = append(ps, vip.Problem{Path: "ca_file", Value: t.CAFile, Message: "has no effect with insecure_skip_verify"})
	}
	return ps
}

// trust makes TLS connections. It looks into the CA file each time, so that
// new certificates count without a reload, and parses it when it has changed.
type trust struct {
	file   string
	pem    []byte // of config.RootCAs
	config *tls.Config
}

// newTrust is trust as t says, which may be nil, in the server called host, for
// the protocol with that name in ALPN (RFC 7301).
func newTrust(t *TLS, host, protocol string) *trust {
	if t == nil {
		t = new(TLS)
	}
	if t.ServerName != "" {
		host = t.ServerName
	}
	return &trust{file: t.CAFile, config: &tls.Config{ServerName: host, InsecureSkipVerify: t.InsecureSkipVerify, NextProtos: []string{protocol}}}
}

// handshake makes c a TLS connection, or returns the result of the probe.
func (t *trust) handshake(c net.Conn) (net.Conn, *vip.Result) {
	if err := t.refresh(); err != nil {
		return nil, &vip.Result{Outcome: vip.Error, Class: vip.ClassLocal, Detail: err.Error()}
	}
	s := tls.Client(c, t.config)
	if err := s.Handshake(); err != nil {
		r := failure("TLS handshake", err, vip.ClassTLS)
		return nil, &r
	}
	return s, nil
}

// refresh reads the CA file again.
func (t *trust) refresh() error {
	if t.file == "" {
		return nil
	}
	pem, err := os.ReadFile(t.file)
	if err != nil {
		return fmt.Errorf("ca_file: %w", err)
	}
	if t.config.RootCAs != nil && bytes.Equal(pem, t.pem) {
		return nil
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return errors.New("ca_file: " + t.file + " has no certificate in it")
	}
	config := t.config.Clone()
	config.RootCAs = roots
	t.pem, t.config = pem, config
	return nil
}
