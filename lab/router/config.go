package router

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// Config is the router's file. Peers are passive: the router listens, its peers dial.
type Config struct {
	ASN      uint32     `yaml:"asn"`
	RouterID netip.Addr `yaml:"router_id"`
	Listen   Listen     `yaml:"listen"`
	// Peers are single neighbors, PeerRanges accept any neighbor from a prefix. The longest match wins.
	Peers      []Peer      `yaml:"peers"`
	PeerRanges []PeerRange `yaml:"peer_ranges"`
	// MaxPaths bounds the next hops of one route; default 64.
	MaxPaths int `yaml:"max_paths"`
	// HoldTime is what we propose; the smaller of both sides' counts (RFC 4271, section 4.2). Default 9s.
	HoldTime time.Duration `yaml:"hold_time"`
	// Readvertise sends best paths on to the other peers, as routers do by default. Off, so that the wire carries only
	// what the servers say.
	Readvertise bool `yaml:"readvertise"`
}

// Listen is where the router waits for its peers. Default: every address, port 179.
type Listen struct {
	Addresses []netip.Addr `yaml:"addresses"`
	Port      uint16       `yaml:"port"`
}

// Peer is one neighbor.
type Peer struct {
	Address netip.Addr `yaml:"address"`
	// ASN is the neighbor's AS number. "Any" is not offered: GoBGP v4.8.0 has a data race with such neighbors, in
	// handleFSMMessage when two of them go down together.
	ASN uint32 `yaml:"asn"`
	// PasswordFile holds the TCP MD5 key (RFC 2385).
	PasswordFile string `yaml:"password_file"`
	// TTLSecurity sends with TTL 255 and wants the same from the peer (RFC 5082).
	TTLSecurity bool `yaml:"ttl_security"`
}

// PeerRange accepts every neighbor whose address is in Prefix.
type PeerRange struct {
	Prefix       netip.Prefix `yaml:"prefix"`
	ASN          uint32       `yaml:"asn"`
	PasswordFile string       `yaml:"password_file"`
	TTLSecurity  bool         `yaml:"ttl_security"`
}

// Load reads and checks the file at path. Unknown keys are errors.
func Load(path string) (Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("read router configuration: %w", err)
	}
	c, err := Parse(text)
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// Parse decodes a configuration, fills in defaults and reports every problem at once.
func Parse(text []byte) (Config, error) {
	c := Config{Listen: Listen{Port: 179}, MaxPaths: 64, HoldTime: 9 * time.Second}
	decoder := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict())
	if err := decoder.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return Config{}, err
	}
	if err := decoder.Decode(new(any)); !errors.Is(err, io.EOF) {
		return Config{}, errors.New("more than one YAML document: put everything into one")
	}
	return c, c.validate()
}

func (c Config) validate() error {
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }

	if c.ASN == 0 {
		problem("asn: missing; the router's own AS number, 1..4294967295")
	}
	if !c.RouterID.Is4() || c.RouterID.IsUnspecified() {
		problem("router_id: %q is no BGP identifier; write an IPv4 address", show(c.RouterID))
	}
	if c.MaxPaths < 1 || c.MaxPaths > 256 {
		problem("max_paths: %d is out of range 1..256", c.MaxPaths)
	}
	if c.HoldTime < 3*time.Second || c.HoldTime > 300*time.Second || c.HoldTime%time.Second != 0 {
		problem("hold_time: %v is out of range 3s..300s, whole seconds", c.HoldTime)
	}
	if c.Listen.Port == 0 {
		problem("listen.port: 0 is no port; leave it out for 179")
	}
	if len(c.Peers)+len(c.PeerRanges) == 0 {
		problem("peers: none; name a peer or a range in peer_ranges")
	}
	seen := map[netip.Prefix]string{}
	for _, r := range c.ranges() {
		if r.ASN == 0 {
			problem("%s.asn: missing; the neighbor's AS number, 1..4294967295", r.from)
		}
		switch {
		case !r.Prefix.IsValid():
			problem("%s: address or prefix is missing", r.from)
		case r.Prefix != r.Prefix.Masked():
			problem("%s.prefix: %s has host bits; write %s", r.from, r.Prefix, r.Prefix.Masked())
		case seen[r.Prefix] != "":
			problem("%s: %s is there already as %s", r.from, r.Prefix, seen[r.Prefix])
		default:
			seen[r.Prefix] = r.from
		}
	}
	return errors.Join(problems...)
}

// neighbors is a peer or a range in one form: a single peer is a range of one address.
type neighbors struct {
	PeerRange
	from string // where the file says so
}

func (c Config) ranges() []neighbors {
	var out []neighbors
	for i, p := range c.Peers {
		r := PeerRange{ASN: p.ASN, PasswordFile: p.PasswordFile, TTLSecurity: p.TTLSecurity}
		if p.Address.IsValid() {
			r.Prefix = netip.PrefixFrom(p.Address.WithZone(""), p.Address.BitLen())
		}
		out = append(out, neighbors{r, fmt.Sprintf("peers[%d]", i)})
	}
	for i, r := range c.PeerRanges {
		out = append(out, neighbors{r, fmt.Sprintf("peer_ranges[%d]", i)})
	}
	return out
}

func (r PeerRange) password() (string, error) {
	if r.PasswordFile == "" {
		return "", nil
	}
	text, err := os.ReadFile(r.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("read the password of %s: %w", r.Prefix, err)
	}
	key := strings.TrimRight(string(text), "\r\n")
	if key == "" || len(key) > 80 {
		return "", fmt.Errorf("password of %s in %s: %d bytes; TCP MD5 takes 1..80", r.Prefix, r.PasswordFile, len(key))
	}
	return key, nil
}

func show(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
