package checks

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"github.com/anyvip/anyvip/pkg/vip"
)

const (
	udpSize     = 1232    // bytes that we say an answer over UDP may have: what every link takes in one piece
	maxDatagram = 4 << 10 // bytes of a datagram that are read, for servers that do not listen to udpSize
	maxStray    = 100     // datagrams that are no answer to our question before a probe gives up
	dnsPort     = "53"    // where DNS.Server names none
)

// DNS asks a DNS server for a name and judges the answer.
//
// Each probe is one question, with recursion desired, from a socket of its own with
// an id of its own. It is sent once: a datagram that is lost fails the probe. An
// answer that was cut short is asked for again over TCP, within the same timeout.
type DNS struct {
	Server string   `yaml:"server" doc:"HOST or HOST:PORT; the port's default is 53"`
	Name   string   `yaml:"name" doc:"the name to ask for, complete: no search list is used"`
	Type   string   `yaml:"type" default:"A" doc:"A, AAAA, CAA, CNAME, HTTPS, MX, NAPTR, NS, PTR, SOA, SRV, SVCB, TLSA or TXT"`
	Expect []string `yaml:"expect" doc:"answers that must be among those of the type, each as dig +short shows it, but a TXT without its quotes; default: any answer of the type"`
	TCP    bool     `yaml:"tcp" doc:"ask over TCP; default: over UDP, and over TCP too where the answer was cut short"`
}

// dnsTypes are the types that a question may have: those of records that a zone holds.
var dnsTypes = []string{"A", "AAAA", "CAA", "CNAME", "HTTPS", "MX", "NAPTR", "NS", "PTR", "SOA", "SRV", "SVCB", "TLSA", "TXT"}

// Describe returns dns, and the question with the server.
func (d *DNS) Describe() (name, target string) {
	return "dns", fmt.Sprintf("%s %s @%s", d.Name, d.wantedType(), d.Server)
}

func (d *DNS) wantedType() string { return cmp.Or(d.Type, "A") }

// Validate finds what is wrong.
func (d *DNS) Validate() (ps []vip.Problem) {
	if d.Server == "" {
		ps = append(ps, vip.Problem{Path: "server", Message: "is missing", Allowed: "HOST or HOST:PORT"})
	} else {
		ps = append(ps, validateAddress("server", d.address())...)
	}
	if _, ok := dns.IsDomainName(d.Name); !ok || d.Name == "" {
		ps = append(ps, vip.Problem{Path: "name", Value: d.Name, Message: "is no domain name"})
	}
	if !slices.Contains(dnsTypes, d.wantedType()) {
		ps = append(ps, vip.Problem{Path: "type", Value: d.Type, Message: "is not supported", Allowed: strings.Join(dnsTypes, ", ")})
	}
	for i, want := range d.Expect {
		path := fmt.Sprintf("expect[%d]", i)
		ip, err := netip.ParseAddr(want)
		switch {
		case d.wantedType() == "A" && (err != nil || !ip.Is4()):
			ps = append(ps, vip.Problem{Path: path, Value: want, Message: "is no IPv4 address, as every A record is"})
		case d.wantedType() == "AAAA" && (err != nil || !ip.Is6() || ip.Zone() != ""):
			ps = append(ps, vip.Problem{Path: path, Value: want, Message: "is no IPv6 address, as every AAAA record is"})
		default:
			ps = append(ps, validateWanted(path, want)...)
		}
	}
	return ps
}

// address is where to connect to.
func (d *DNS) address() string {
	host := strings.TrimSuffix(strings.TrimPrefix(d.Server, "["), "]")
	if _, err := netip.ParseAddr(host); err == nil || !strings.Contains(d.Server, ":") {
		return net.JoinHostPort(host, dnsPort)
	}
	return d.Server
}

// Checker prepares the question.
func (d *DNS) Checker() (Checker, error) {
	c := &dnsChecker{DNS: d, server: d.address()}
	var m dns.Msg
	m.SetQuestion(dns.Fqdn(d.Name), dns.StringToType[d.wantedType()])
	m.SetEdns0(udpSize, false)
	c.question = m.Question[0]
	for _, want := range d.Expect {
		c.expect = append(c.expect, c.normal(want))
	}
	var err error
	c.wire, err = m.Pack()
	return c, err
}

type dnsChecker struct {
	*DNS
	server   string // HOST:PORT
	question dns.Question
	expect   []string // as text gives them
	wire     []byte   // the question as it goes out; its id, the first two bytes, is new each time
}

// Probe asks, over TCP too if it has to, and judges the answer.
func (d *dnsChecker) Probe(ctx context.Context) vip.Result {
	network := "udp"
	if d.TCP {
		network = "tcp"
	}
	reply, failed := d.ask(ctx, network)
	if failed == nil && reply.Truncated && network == "udp" {
		reply, failed = d.ask(ctx, "tcp")
	}
	if failed != nil {
		return *failed
	}
	return d.judge(reply)
}

// ask puts the question once and returns the answer, or the result of the probe.
func (d *dnsChecker) ask(ctx context.Context, network string) (*dns.Msg, *vip.Result) {
	fail := func(doing string, err error, fallback vip.Class) (*dns.Msg, *vip.Result) {
		r := failure(doing+" over "+strings.ToUpper(network), err, fallback)
		return nil, &r
	}
	c, err := dial(ctx, network, d.server)
	if err != nil {
		return fail("connect to "+d.server, err, vip.ClassUnreachable)
	}
	defer c.Close()
	id := dns.Id()
	binary.BigEndian.PutUint16(d.wire, id)
	out := d.wire
	if network == "tcp" {
		out = append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)
	}
	if _, err := c.Write(out); err != nil {
		return fail("ask "+d.server, err, vip.ClassReset)
	}
	hear := d.hearDatagram
	if network == "tcp" {
		hear = d.hearStream
	}
	reply, err := hear(c, id)
	if err != nil {
		return fail("wait for the answer of "+d.server, err, vip.ClassProtocol)
	}
	return reply, nil
}

// hearDatagram waits for the answer among datagrams. One that is none may be late
// or forged: the true one is still waited for, and only if it does not come is
// such a one named as what went wrong.
func (d *dnsChecker) hearDatagram(c net.Conn, id uint16) (*dns.Msg, error) {
	var odd error
	buf := make([]byte, maxDatagram)
	for range maxStray {
		n, err := c.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) && odd != nil {
			break
		}
		if err != nil {
			return nil, err
		}
		reply, err := d.parse(buf[:n], id)
		if err == nil {
			return reply, nil
		}
		odd = cmp.Or(odd, err)
	}
	return nil, odd
}

// hearStream reads the answer from a TCP connection, where each message comes after
// its length.
func (d *dnsChecker) hearStream(c net.Conn, id uint16) (*dns.Msg, error) {
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return nil, err
	}
	message := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(c, message); err != nil {
		return nil, err
	}
	return d.parse(message, id)
}

// parse reads a message and holds it against the question. An error answer may
// come without the question (RFC 1035, section 4.1.1, format error).
func (d *dnsChecker) parse(message []byte, id uint16) (*dns.Msg, error) {
	reply := new(dns.Msg)
	unreadable := reply.Unpack(message) // what was cut short may end in the middle of a record
	if reply.Truncated && len(reply.Question) != 0 {
		unreadable = nil
	}
	if unreadable != nil {
		return nil, fmt.Errorf("no DNS message: %w", unreadable)
	}
	asked := len(reply.Question) == 1 && strings.EqualFold(reply.Question[0].Name, d.question.Name) &&
		reply.Question[0].Qtype == d.question.Qtype && reply.Question[0].Qclass == d.question.Qclass
	silent := len(reply.Question) == 0 && reply.Rcode != dns.RcodeSuccess
	if !reply.Response || reply.Id != id || !asked && !silent {
		return nil, errors.New("an answer to another question")
	}
	return reply, nil
}

// judge turns an answer into a result.
func (d *dnsChecker) judge(reply *dns.Msg) vip.Result {
	if reply.Rcode != dns.RcodeSuccess {
		code := cmp.Or(dns.RcodeToString[reply.Rcode], "RCODE "+strconv.Itoa(reply.Rcode))
		return vip.Result{Outcome: vip.Fail, Class: vip.ClassStatus, Detail: "the server says " + code}
	}
	var answers []string
	for _, rr := range reply.Answer {
		if rr.Header().Rrtype == d.question.Qtype && rr.Header().Class == d.question.Qclass {
			answers = append(answers, d.text(rr))
		}
	}
	if answers == nil {
		return vip.Result{Outcome: vip.Fail, Class: vip.ClassBody, Detail: "no " + d.wantedType() + " record in the answer"}
	}
	all := strings.Join(answers, ", ")
	for i, want := range d.expect {
		if !slices.Contains(answers, want) {
			return vip.Result{Outcome: vip.Fail, Class: vip.ClassBody, Detail: fmt.Sprintf("no %q in the answer: %s", d.Expect[i], all)}
		}
	}
	return vip.Result{Outcome: vip.Pass, Detail: all}
}

// text is what a record says.
func (d *dnsChecker) text(rr dns.RR) string {
	if txt, ok := rr.(*dns.TXT); ok {
		return unescape(strings.Join(txt.Txt, ""))
	}
	return d.normal(strings.TrimPrefix(rr.String(), rr.Header().String()))
}

// normal is how a record's text is compared: addresses in their shortest form, and
// the rest, but for TXT, without regard to case and the last dot of a name.
func (d *dnsChecker) normal(text string) string {
	if d.question.Qtype == dns.TypeTXT {
		return text
	}
	if ip, err := netip.ParseAddr(text); err == nil {
		return ip.String()
	}
	return strings.TrimSuffix(strings.ToLower(text), ".")
}

// unescape undoes \DDD and \X of the text form of a zone (RFC 1035, section 5.1).
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
			if n, err := strconv.ParseUint(s[i:min(i+3, len(s))], 10, 8); err == nil && i+3 <= len(s) {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
