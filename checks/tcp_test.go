package checks

import (
	"strings"
	"testing"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

func TestTCP(t *testing.T) {
	for _, tc := range []struct {
		name    string
		address func(testing.TB) string
		tcp     TCP
		timeout time.Duration
		outcome vip.Outcome
		class   vip.Class
		detail  string // ADDR stands for the address
	}{
		{"a listener is enough", func(t testing.TB) string { return serve(t, silent) }, TCP{}, long, vip.Pass, vip.ClassNone, ""},
		{"the expected answer", func(t testing.TB) string { return serve(t, says("+PONG\r\n")) }, TCP{Send: "PING\r\n", Expect: "PONG"}, long, vip.Pass, vip.ClassNone, ""},
		{"another answer", func(t testing.TB) string { return serve(t, says("-ERR\r\n")) }, TCP{Send: "PING\r\n", Expect: "PONG"}, long,
			vip.Fail, vip.ClassBody, `ADDR did not say "PONG"`},
		{"the expected answer, but too late in the stream", func(t testing.TB) string { return serve(t, says(strings.Repeat("x", maxExpect)+"PONG")) },
			TCP{Send: "PING\r\n", Expect: "PONG"}, long, vip.Fail, vip.ClassBody, `ADDR did not say "PONG"`},
		{"an answer that comes byte by byte", func(t testing.TB) string { return serve(t, trickles("SS", 'H')) }, TCP{Expect: "SSHHH"}, long, vip.Pass, vip.ClassNone, ""},
		{"nobody listens", nobody, TCP{}, long, vip.Fail, vip.ClassRefused, "connect to ADDR: connection refused"},
		{"no answer to the SYN", deaf, TCP{}, short, vip.Fail, vip.ClassTimeout, "connect to ADDR: timed out"},
		{"no answer to what was sent", func(t testing.TB) string { return serve(t, silent) }, TCP{Send: "PING\r\n", Expect: "PONG"}, short,
			vip.Fail, vip.ClassTimeout, `wait for "PONG" from ADDR: timed out`},
		{"a trickle of something else", func(t testing.TB) string { return serve(t, trickles("", 'x')) }, TCP{Expect: "PONG"}, short,
			vip.Fail, vip.ClassTimeout, `wait for "PONG" from ADDR: timed out`},
		{"a reset in the middle", func(t testing.TB) string { return serve(t, resets("")) }, TCP{Send: "PING\r\n", Expect: "PONG"}, long,
			vip.Fail, vip.ClassReset, `wait for "PONG" from ADDR: connection reset by peer`},
		{"no route", func(testing.TB) string { return "255.255.255.255:1" }, TCP{}, long, vip.Fail, vip.ClassUnreachable, "connect to ADDR: network is unreachable"},
		// A name that cannot exist: nothing leaves this machine.
		{"a name that does not resolve", func(testing.TB) string { return "no..such:80" }, TCP{}, long, vip.Error, vip.ClassResolve,
			"connect to ADDR: lookup no..such: no such host"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.tcp.Address = tc.address(t)
			got := probe(t, &tc.tcp, tc.timeout)
			expect(t, got, tc.outcome, tc.class, strings.ReplaceAll(tc.detail, "ADDR", tc.tcp.Address))
		})
	}
}

func TestTCPWithoutDescriptorsCouldNotAsk(t *testing.T) {
	address := serve(t, silent)
	expect(t, probe(t, &TCP{Address: address}, long), vip.Pass, vip.ClassNone, "")
	withoutDescriptors(t, func() {
		expect(t, probe(t, &TCP{Address: address}, long), vip.Error, vip.ClassLocal, "connect to "+address+": too many open files")
	})
}

func TestFind(t *testing.T) {
	for _, tc := range []struct {
		name  string
		text  string
		limit int64
		want  bool
	}{
		{"at the start", "needle and more", 100, true},
		{"at the end", strings.Repeat("x", 94) + "needle", 100, true},
		{"over the limit by one", strings.Repeat("x", 95) + "needle", 100, false},
		{"after a false start", "needneedle", 100, true},
		{"across the edge of the buffer", strings.Repeat("x", 2*maxWanted-3) + "needle", 1 << 20, true},
		{"far behind", strings.Repeat("nee", 100_000) + "needle", 1 << 20, true},
		{"not there", strings.Repeat("needl", 100_000), 1 << 20, false},
		{"in nothing", "", 100, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got, err := find(strings.NewReader(tc.text), "needle", tc.limit); got != tc.want || err != nil {
				t.Errorf("found %v, error %v; want %v", got, err, tc.want)
			}
		})
	}
}
