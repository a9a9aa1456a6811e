package checks

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/anyvip/anyvip/pkg/vip"
)

const (
	maxQuery  = 4 << 10 // bytes that Postgres.Query may have
	maxSocket = 107     // bytes of a unix socket's path, see unix(7)

	postgresPort = "5432" // of a unix socket whose directory alone is named
	socketName   = ".s.PGSQL."
)

var roles = []string{"any", "primary", "replica"}

// Validate finds what is wrong.
func (p *Postgres) Validate() (ps []vip.Problem) {
	network, address := p.where()
	if network == "unix" {
		if len(address) > maxSocket {
			ps = append(ps, vip.Problem{Path: "address", Value: p.Address, Message: "is too long for a unix socket", Allowed: fmt.Sprintf("%d bytes with %s%s", maxSocket, socketName, postgresPort)})
		}
		if p.TLS != nil {
			ps = append(ps, vip.Problem{Path: "tls", Message: "has no meaning for a unix socket", Allowed: "only with HOST:PORT"})
		}
	} else {
		for _, problem := range validateAddress("address", p.Address) {
			if problem.Message == "is no address" {
				problem.Allowed += ", or an absolute path"
			}
			ps = append(ps, problem)
		}
	}
	if p.User == "" {
		ps = append(ps, vip.Problem{Path: "user", Message: "is missing"})
	}
	for _, text := range []struct{ path, text string }{{"address", p.Address}, {"user", p.User}, {"database", p.Database}, {"query", p.Query}} {
		ps = append(ps, validateText(text.path, text.text)...)
	}
	if len(p.Query) > maxQuery {
		ps = append(ps, vip.Problem{Path: "query", Message: "is too long: " + strconv.Itoa(len(p.Query)) + " bytes", Allowed: "at most " + strconv.Itoa(maxQuery)})
	}
	if p.PasswordFile != "" && !filepath.IsAbs(p.PasswordFile) {
		ps = append(ps, vip.Problem{Path: "password_file", Value: p.PasswordFile, Message: "is not an absolute path"})
	}
	if p.TLS != nil {
		ps = append(ps, vip.Under("tls", p.TLS.validate())...)
	}
	if p.Role != "" && !slices.Contains(roles, p.Role) {
		ps = append(ps, vip.Problem{Path: "role", Value: p.Role, Message: "is no role", Allowed: strings.Join(roles, ", ")})
	}
	ps = append(ps, within("max_lag", p.MaxLag, 0, 24*time.Hour, "0s to 24h")...)
	if p.MaxLag != 0 && p.Role != "replica" {
		ps = append(ps, vip.Problem{Path: "max_lag", Value: p.MaxLag.String(), Message: "has a meaning for a replica only", Allowed: "only with role: replica"})
	}
	return ps
}

// where is what to connect to.
func (p *Postgres) where() (network, address string) {
	switch {
	case !strings.HasPrefix(p.Address, "/"):
		return "tcp", p.Address
	case strings.HasPrefix(filepath.Base(p.Address), socketName):
		return "unix", p.Address
	}
	return "unix", filepath.Join(p.Address, socketName+postgresPort)
}

// bareConfig is a configuration of pgconn in which nothing counts that we did not
// set. pgconn takes none that its parser did not make, and its parser looks at the
// environment: each setting that it takes from there is set here instead. A service
// can only be overruled by another one, which it wants to find in a file: an empty
// one, from a pipe, so that nothing is written anywhere.
func bareConfig() (*pgconn.Config, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	_, err = io.WriteString(w, "[none]\n")
	w.Close()
	if err != nil {
		return nil, err
	}
	config, err := pgconn.ParseConfig(fmt.Sprintf("service=none servicefile=/proc/self/fd/%d host=/ port=5432 user=none password=none "+
		"passfile=/dev/null sslmode=disable sslcertmode=disable sslnegotiation=postgres connect_timeout=0 target_session_attrs=any "+
		"min_protocol_version=3.0 max_protocol_version=3.0 channel_binding=prefer require_auth=''", r.Fd()))
	if err != nil {
		return nil, err
	}
	config.MaxProtocolMessageBodyLen = maxSession
	return config, nil
}
