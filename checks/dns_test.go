package checks

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/anyvip/anyvip/pkg/vip"
)

// responder turns a question into the messages that go back, as they go out.
type responder func(t testing.TB, q *dns.Msg) [][]byte

// serveDNS answers over UDP and TCP on one port of loopback.
func serveDNS(t testing.TB, udp, tcp responder) string {
	t.Helper()
	address := serve(t, func(c *net.TCPConn) {
		var length [2]byte
		if _, err := io.ReadFull(c, length[:]); err != nil {
			return
		}
		message := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(c, message); err != nil {
			return
		}
		for _, out := range tcp(t, unpack(t, message)) {
			_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...))
		}
		silent(c)
	})
	p, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Skipf("the port is free for TCP, but not for UDP: %v", err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := p.ReadFrom(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				for _, out := range udp(t, unpack(t, buf[:n])) {
					_, _ = p.WriteTo(out, from)
				}
			}
		}
	})
	t.Cleanup(func() {
		p.Close()
		group.Wait()
	})
	return address
}

func unpack(t testing.TB, message []byte) *dns.Msg {
	q := new(dns.Msg)
	if err := q.Unpack(message); err != nil || !q.RecursionDesired || q.Response || len(q.Question) != 1 || q.IsEdns0() == nil || q.IsEdns0().UDPSize() != udpSize {
		t.Errorf("asked: %v, error %v", q, err)
	}
	return q
}

// answers is a server that answers with records; OWNER in them is the question's.
func answers(records ...string) responder {
	return func(t testing.TB, q *dns.Msg) [][]byte {
		return [][]byte{reply(t, q, records...)}
	}
}

func reply(t testing.TB, q *dns.Msg, records ...string) []byte {
	m := new(dns.Msg)
	m.SetReply(q)
	for _, text := range records {
		rr, err := dns.NewRR(strings.ReplaceAll(text, "OWNER", q.Question[0].Name))
		if err != nil {
			t.Error(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	return packed(t, m)
}

func packed(t testing.TB, m *dns.Msg) []byte {
	wire, err := m.Pack()
	if err != nil {
		t.Error(err)
	}
	return wire
}

// changed is a server whose right answer is changed before it goes out.
func changed(change func(*dns.Msg)) responder {
	return func(t testing.TB, q *dns.Msg) [][]byte {
		m := new(dns.Msg)
		if err := m.Unpack(reply(t, q, "OWNER 5 A 192.0.2.66")); err != nil {
			t.Error(err)
		}
		change(m)
		return [][]byte{packed(t, m)}
	}
}

func rcode(code int) responder {
	return changed(func(m *dns.Msg) { m.Rcode, m.Answer = code, nil })
}

// raw is a server that sends messages, whatever was asked.
func raw(messages ...string) responder {
	return func(testing.TB, *dns.Msg) [][]byte {
		var out [][]byte
		for _, m := range messages {
			out = append(out, []byte(m))
		}
		return out
	}
}

// first is a server that says what one says, and then what the other says.
func first(one, other responder) responder {
	return func(t testing.TB, q *dns.Msg) [][]byte { return append(one(t, q), other(t, q)...) }
}

var (
	truncated   = changed(func(m *dns.Msg) { m.Truncated, m.Answer = true, nil })
	otherID     = changed(func(m *dns.Msg) { m.Id++ })
	otherName   = changed(func(m *dns.Msg) { m.Question[0].Name = "other.example." })
	otherType   = changed(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA })
	noQuestion  = changed(func(m *dns.Msg) { m.Question = nil })
	itsQuestion = changed(func(m *dns.Msg) { m.Response = false })
	right       = answers("OWNER 5 A 192.0.2.1")
)

func TestDNS(t *testing.T) {
	for _, tc := range []struct {
		name    string
		udp     responder
		tcp     responder
		dns     DNS
		timeout time.Duration
		outcome vip.Outcome
		class   vip.Class
		detail  string // ADDR stands for the server
	}{
		{"any answer", right, nil, DNS{}, long, vip.Pass, vip.ClassNone, "192.0.2.1"},
		{"many answers behind an alias", answers("OWNER 5 CNAME b.example.", "b.example. 5 A 192.0.2.1", "b.example. 5 A 192.0.2.2"), nil,
			DNS{Expect: []string{"192.0.2.2"}}, long, vip.Pass, vip.ClassNone, "192.0.2.1, 192.0.2.2"},
		{"the answer in other letters", changed(func(m *dns.Msg) { m.Question[0].Name = "WWW.example." }), nil, DNS{}, long, vip.Pass, vip.ClassNone, "192.0.2.66"},
		{"AAAA, written at length", answers("OWNER 5 AAAA 2001:db8::1"), nil, DNS{Type: "AAAA", Expect: []string{"2001:DB8:0::1"}}, long, vip.Pass, vip.ClassNone, "2001:db8::1"},
		{"SRV", answers("OWNER 5 SRV 10 5 5060 Sip.example."), nil, DNS{Type: "SRV", Expect: []string{"10 5 5060 sip.example"}}, long, vip.Pass, vip.ClassNone, "10 5 5060 sip.example"},
		{"MX", answers("OWNER 5 MX 10 mail.example."), nil, DNS{Type: "MX", Expect: []string{"10 mail.example."}}, long, vip.Pass, vip.ClassNone, "10 mail.example"},
		{"TXT", answers(`OWNER 5 TXT "a \"b\" \\ " "\195\188;c"`), nil, DNS{Type: "TXT", Expect: []string{`a "b" \ ü;c`}}, long, vip.Pass, vip.ClassNone, `a "b" \ ü;c`},
		{"TXT in other letters", answers("OWNER 5 TXT Ready"), nil, DNS{Type: "TXT", Expect: []string{"ready"}}, long, vip.Fail, vip.ClassBody, `no "ready" in the answer: Ready`},
		{"over TCP", nil, right, DNS{TCP: true}, long, vip.Pass, vip.ClassNone, "192.0.2.1"},
		{"cut short, then over TCP", truncated, right, DNS{}, long, vip.Pass, vip.ClassNone, "192.0.2.1"},
		{"cut short in the middle of a record, then over TCP", func(t testing.TB, q *dns.Msg) [][]byte {
			cut := truncated(t, q)[0]
			binary.BigEndian.PutUint16(cut[6:], 9) // so many answers
			return [][]byte{cut}
		}, right, DNS{}, long, vip.Pass, vip.ClassNone, "192.0.2.1"},

		{"NXDOMAIN", rcode(dns.RcodeNameError), nil, DNS{}, long, vip.Fail, vip.ClassStatus, "the server says NXDOMAIN"},
		{"SERVFAIL", rcode(dns.RcodeServerFailure), nil, DNS{}, long, vip.Fail, vip.ClassStatus, "the server says SERVFAIL"},
		{"REFUSED", rcode(dns.RcodeRefused), nil, DNS{}, long, vip.Fail, vip.ClassStatus, "the server says REFUSED"},
		{"a code that nobody knows", rcode(12), nil, DNS{}, long, vip.Fail, vip.ClassStatus, "the server says RCODE 12"},
		{"an error without the question", changed(func(m *dns.Msg) { m.Rcode, m.Question, m.Answer = dns.RcodeFormatError, nil, nil }), nil, DNS{}, long,
			vip.Fail, vip.ClassStatus, "the server says FORMERR"},
		{"no answer in the answer", answers(), nil, DNS{}, long, vip.Fail, vip.ClassBody, "no A record in the answer"},
		{"an alias alone", answers("OWNER 5 CNAME b.example."), nil, DNS{}, long, vip.Fail, vip.ClassBody, "no A record in the answer"},
		{"another answer", right, nil, DNS{Expect: []string{"192.0.2.1", "192.0.2.9"}}, long, vip.Fail, vip.ClassBody, `no "192.0.2.9" in the answer: 192.0.2.1`},

		{"no answer", raw(), nil, DNS{}, short, vip.Fail, vip.ClassTimeout, "wait for the answer of ADDR over UDP: timed out"},
		{"no answer over TCP", nil, raw(), DNS{TCP: true}, short, vip.Fail, vip.ClassTimeout, "wait for the answer of ADDR over TCP: timed out"},
		{"cut short, and silent over TCP", truncated, raw(), DNS{}, short, vip.Fail, vip.ClassTimeout, "wait for the answer of ADDR over TCP: timed out"},
		{"garbage", raw("garbage, which is not DNS"), nil, DNS{}, short, vip.Fail, vip.ClassProtocol,
			"wait for the answer of ADDR over UDP: no DNS message: bad question name: dns: bad rdata"},
		{"an empty datagram", raw(""), nil, DNS{}, short, vip.Fail, vip.ClassProtocol, "wait for the answer of ADDR over UDP: no DNS message: bad header id: dns: overflow unpacking uint16"},
		{"garbage over TCP", nil, raw("garbage, which is not DNS"), DNS{TCP: true}, long, vip.Fail, vip.ClassProtocol,
			"wait for the answer of ADDR over TCP: no DNS message: bad question name: dns: bad rdata"},
		{"garbage, and then the answer", first(raw("garbage", ""), right), nil, DNS{}, long, vip.Pass, vip.ClassNone, "192.0.2.1"},
		{"another id, and then the answer", first(otherID, right), nil, DNS{}, long, vip.Pass, vip.ClassNone, "192.0.2.1"},
		{"another id", otherID, nil, DNS{}, short, vip.Fail, vip.ClassProtocol, "wait for the answer of ADDR over UDP: an answer to another question"},
		{"another name", otherName, nil, DNS{}, short, vip.Fail, vip.ClassProtocol, "wait for the answer of ADDR over UDP: an answer to another question"},
		{"another type", otherType, nil, DNS{}, short, vip.Fail, vip.ClassProtocol, "wait for the answer of ADDR over UDP: an answer to another question"},
		{"an answer without the question", noQuestion, nil, DNS{}, short, vip.Fail, vip.ClassProtocol, "wait for the answer of ADDR over UDP: an answer to another question"},
		{"the question itself", itsQuestion, nil, DNS{}, short, vip.Fail, vip.ClassProtocol, "wait for the answer of ADDR over UDP: an answer to another question"},
		{"another id over TCP", nil, otherID, DNS{TCP: true}, long, vip.Fail, vip.ClassProtocol, "wait for the answer of ADDR over TCP: an answer to another question"},
		{"a flood of garbage", raw(strings.Split(strings.Repeat("garbage ", 2*maxStray), " ")...), nil, DNS{}, long, vip.Fail, vip.ClassProtocol,
			"wait for the answer of ADDR over UDP: no DNS message: bad header answer count: dns: overflow unpacking uint16"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.dns.Server = serveDNS(t, tc.udp, tc.tcp)
			tc.dns.Name = "www.example"
			expect(t, probe(t, &tc.dns, tc.timeout), tc.outcome, tc.class, strings.ReplaceAll(tc.detail, "ADDR", tc.dns.Server))
		})
	}
}

func TestDNSOverTCPThatBreaks(t *testing.T) {
	for _, tc := range []struct {
		name    string
		handle  func(*net.TCPConn)
		timeout time.Duration
		class   vip.Class
		detail  string
	}{
		{"closed without an answer", says(""), long, vip.ClassReset, "the connection was closed in the middle"},
		{"closed in the middle", says("\x01\x00abc"), long, vip.ClassReset, "the connection was closed in the middle"},
		{"reset in the middle", resets("\x01\x00abc"), long, vip.ClassReset, "connection reset by peer"},
		{"a trickle", trickles("\xff\xff", 'x'), short, vip.ClassTimeout, "timed out"},
		{"never speaks", silent, short, vip.ClassTimeout, "timed out"},
		{"no length", says("\x00\x00"), long, vip.ClassProtocol, "no DNS message: bad header id: dns: overflow unpacking uint16"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			address := serve(t, tc.handle)
			expect(t, probe(t, &DNS{Server: address, Name: "www.example", TCP: true}, tc.timeout), vip.Fail, tc.class,
				"wait for the answer of "+address+" over TCP: "+tc.detail)
		})
	}
}

func TestDNSWithoutAServer(t *testing.T) {
	refused, dropped := nobody(t), deaf(t)
	ask := func(server string, tcp bool, timeout time.Duration) vip.Result {
		return probe(t, &DNS{Server: server, Name: "www.example", TCP: tcp}, timeout)
	}
	expect(t, ask(refused, false, long), vip.Fail, vip.ClassRefused, "wait for the answer of "+refused+" over UDP: connection refused")
	expect(t, ask(refused, true, long), vip.Fail, vip.ClassRefused, "connect to "+refused+" over TCP: connection refused")
	expect(t, ask(dropped, true, short), vip.Fail, vip.ClassTimeout, "connect to "+dropped+" over TCP: timed out")
	expect(t, ask("no..such", false, long), vip.Error, vip.ClassResolve, "connect to no..such:53 over UDP: lookup no..such: no such host")
	withoutDescriptors(t, func() {
		expect(t, ask(refused, false, long), vip.Error, vip.ClassLocal, "connect to "+refused+" over UDP: too many open files")
	})
}

// A datagram that comes from anybody but the server is not even received, though it
// were right in every other way.
func TestDNSTakesNoAnswerFromAnybodyElse(t *testing.T) {
	other, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	var forged atomic.Bool
	var group sync.WaitGroup
	group.Go(func() {
		buf := make([]byte, 4096)
		n, from, err := server.ReadFrom(buf)
		if err != nil {
			t.Error(err)
			return
		}
		_, err = other.WriteTo(reply(t, unpack(t, buf[:n]), "OWNER 5 A 192.0.2.1"), from)
		forged.Store(err == nil)
	})
	address := server.LocalAddr().String()
	expect(t, probe(t, &DNS{Server: address, Name: "www.example"}, short), vip.Fail, vip.ClassTimeout, "wait for the answer of "+address+" over UDP: timed out")
	group.Wait()
	if !forged.Load() {
		t.Error("the forged answer was not sent")
	}
}

func TestDNSAsksWithANewIDEachTime(t *testing.T) {
	var mu sync.Mutex
	ids := map[uint16]bool{}
	address := serveDNS(t, func(t testing.TB, q *dns.Msg) [][]byte {
		mu.Lock()
		defer mu.Unlock()
		ids[q.Id] = true
		return right(t, q)
	}, nil)
	c, err := (&DNS{Server: address, Name: "www.example"}).Checker()
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if got := c.Probe(t.Context()); got.Outcome != vip.Pass {
			t.Errorf("%+v", got)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(ids) < 9 { // two the same in ten: once in 1,500 runs
		t.Errorf("%d ids in 10 probes", len(ids))
	}
}

func TestDNSServerAddress(t *testing.T) {
	for server, want := range map[string]string{
		"192.0.2.1": "192.0.2.1:53", "192.0.2.1:5353": "192.0.2.1:5353", "2001:db8::1": "[2001:db8::1]:53", "[2001:db8::1]": "[2001:db8::1]:53",
		"[2001:db8::1]:5353": "[2001:db8::1]:5353", "ns.example": "ns.example:53", "ns.example:5353": "ns.example:5353", "fe80::1%lo": "[fe80::1%lo]:53",
	} {
		if got := (&DNS{Server: server}).address(); got != want {
			t.Errorf("%s: %s, want %s", server, got, want)
		}
	}
}

// startUnbound runs a real server with a zone of its own that knows nobody else, but a
// server for broken.test. that fails.
func startUnbound(t *testing.T) (address string) {
	t.Helper()
	program := needProgram(t, "unbound", "/usr/sbin/unbound")
	dir := keptDir(t)
	address = nobody(t)
	_, port, _ := net.SplitHostPort(address)
	_, broken, _ := net.SplitHostPort(serveFailure(t))
	conf := dir + "/unbound.conf"
	writeFile(t, conf, strings.NewReplacer("DIR", dir, "PORT", port, "BROKEN", broken, "BIG", strings.Repeat("x", 250)).Replace(unboundConf))
	if err := os.Chmod(conf, 0o644); err != nil {
		t.Fatal(err)
	}
	startKept(t, dir, "unbound", program, "-d", "-p", "-c", conf)
	eventually(t, "unbound answers", func() bool {
		return probe(t, &DNS{Server: address, Name: "www.example.test"}, time.Second).Outcome == vip.Pass
	})
	return address
}

// serveFailure is a server that answers everything with SERVFAIL.
func serveFailure(t testing.TB) string {
	p, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := p.ReadFrom(buf)
			if err != nil {
				return
			}
			buf[2] |= 0x80 // a response
			buf[3] = buf[3]&0xf0 | dns.RcodeServerFailure
			_, _ = p.WriteTo(buf[:n], from)
		}
	})
	t.Cleanup(func() {
		p.Close()
		group.Wait()
	})
	return p.LocalAddr().String()
}

const unboundConf = `
server:
  interface: 127.0.0.1
  port: PORT
  username: ""
  chroot: ""
  directory: "DIR"
  logfile: "DIR/unbound.log"
  use-syslog: no
  module-config: "iterator"
  do-not-query-localhost: no
  num-threads: 1
  local-zone: "example.test." static
  local-data: "www.example.test. A 192.0.2.10"
  local-data: "www.example.test. A 192.0.2.11"
  local-data: "www.example.test. AAAA 2001:db8::10"
  local-data: "_sip._tcp.example.test. SRV 10 5 5060 sip.example.test."
  local-data: 'txt.example.test. TXT "state: ready"'
  local-data: 'big.example.test. TXT "1BIG"'
  local-data: 'big.example.test. TXT "2BIG"'
  local-data: 'big.example.test. TXT "3BIG"'
  local-data: 'big.example.test. TXT "4BIG"'
  local-data: 'big.example.test. TXT "5BIG"'
  local-data: 'big.example.test. TXT "6BIG"'
  local-zone: "secret.test." refuse
  local-zone: "broken.test." transparent
remote-control:
  control-enable: no
forward-zone:
  name: "broken.test."
  forward-addr: 127.0.0.1@BROKEN
`

func TestDNSWithUnbound(t *testing.T) {
	address := startUnbound(t)
	big := []string{"6" + strings.Repeat("x", 250), "1" + strings.Repeat("x", 250)}
	for _, tc := range []struct {
		name    string
		dns     DNS
		outcome vip.Outcome
		class   vip.Class
		detail  string // how it starts; any order of answers is right where it is empty
	}{
		{"A", DNS{Name: "www.example.test", Expect: []string{"192.0.2.11", "192.0.2.10"}}, vip.Pass, vip.ClassNone, ""},
		{"over TCP", DNS{Name: "www.example.test.", TCP: true}, vip.Pass, vip.ClassNone, ""},
		{"AAAA", DNS{Name: "WWW.example.test", Type: "AAAA"}, vip.Pass, vip.ClassNone, "2001:db8::10"},
		{"SRV", DNS{Name: "_sip._tcp.example.test", Type: "SRV", Expect: []string{"10 5 5060 sip.example.test."}}, vip.Pass, vip.ClassNone, "10 5 5060 sip.example.test"},
		{"TXT", DNS{Name: "txt.example.test", Type: "TXT", Expect: []string{"state: ready"}}, vip.Pass, vip.ClassNone, "state: ready"},
		{"too large for UDP", DNS{Name: "big.example.test", Type: "TXT", Expect: big}, vip.Pass, vip.ClassNone, ""},
		{"other content", DNS{Name: "txt.example.test", Type: "TXT", Expect: []string{"state: sick"}}, vip.Fail, vip.ClassBody, `no "state: sick" in the answer: state: ready`},
		{"no such type", DNS{Name: "txt.example.test"}, vip.Fail, vip.ClassBody, "no A record in the answer"},
		{"no such name", DNS{Name: "none.example.test"}, vip.Fail, vip.ClassStatus, "the server says NXDOMAIN"},
		{"a zone that it refuses", DNS{Name: "www.secret.test"}, vip.Fail, vip.ClassStatus, "the server says REFUSED"},
		{"a zone whose server fails", DNS{Name: "www.broken.test"}, vip.Fail, vip.ClassStatus, "the server says SERVFAIL"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.dns.Server = address
			got := probe(t, &tc.dns, long)
			if !strings.HasPrefix(got.Detail, tc.detail) {
				t.Errorf("detail %q, want %q...", got.Detail, tc.detail)
			}
			got.Detail = ""
			expect(t, got, tc.outcome, tc.class, "")
		})
	}
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{"": "", "plain": "plain", `\"a\\`: `"a\`, `\195\188`: "ü", `\0651`: "A1", `a\`: `a\`, `\12`: "12"} {
		if got := unescape(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

func FuzzDNSParse(f *testing.F) {
	k, err := (&DNS{Server: "127.0.0.1", Name: "www.example"}).Checker()
	if err != nil {
		f.Fatal(err)
	}
	d := k.(*dnsChecker)
	q := new(dns.Msg)
	if err := q.Unpack(d.wire); err != nil {
		f.Fatal(err)
	}
	f.Add(reply(f, q, "OWNER 5 A 192.0.2.1", `OWNER 5 TXT "a\"b"`))
	f.Add(d.wire)
	f.Fuzz(func(_ *testing.T, message []byte) {
		if reply, err := d.parse(message, q.Id); err == nil {
			d.judge(reply)
		}
	})
}
