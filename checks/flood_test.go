package checks

import (
	"strings"
	"testing"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// A server that sends a gigabyte costs what was asked for. For HTTP, see
// TestHTTPDoesNotReadAGigabyte; for PostgreSQL, TestPostgresDoesNotReadAGigabyte.
func TestNobodyReadsAGigabyte(t *testing.T) {
	dns := func(address string) Kind { return &DNS{Server: address, Name: "example.net", TCP: true} }
	for _, tc := range []struct {
		name   string
		answer string
		with   byte
		kind   func(address string) Kind
		want   vip.Result // its detail without the address
	}{
		{"tcp that expects nothing", "", 'y', func(a string) Kind { return &TCP{Address: a, Send: "?"} }, vip.Result{Outcome: vip.Pass}},
		{"tcp", "", 'y', func(a string) Kind { return &TCP{Address: a, Send: "?", Expect: "ready"} },
			vip.Result{Outcome: vip.Fail, Class: vip.ClassBody, Detail: `ADDRESS did not say "ready"`}},
		{"tcp that gets what it expects", "ready", 'y', func(a string) Kind { return &TCP{Address: a, Send: "?", Expect: "ready"} }, vip.Result{Outcome: vip.Pass}},
		{"dns, a message of no length", "", 0, dns, vip.Result{Outcome: vip.Fail, Class: vip.ClassProtocol,
			Detail: "wait for the answer of ADDRESS over TCP: no DNS message: bad header id: dns: overflow unpacking uint16"}},
		{"dns, the longest message that there is", "", 0xff, dns, vip.Result{Outcome: vip.Fail, Class: vip.ClassProtocol,
			Detail: "wait for the answer of ADDRESS over TCP: no DNS message: bad question name: dns: too many compression pointers"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			handle, sent := floods(tc.answer, tc.with)
			address := serve(t, handle)
			got := cheap(t, tc.kind(address), long, sent)
			expect(t, got, tc.want.Outcome, tc.want.Class, strings.ReplaceAll(tc.want.Detail, "ADDRESS", address))
		})
	}
}

// What a command writes is read all the same, or it would hang, and not kept.
func TestACommandThatWritesForEver(t *testing.T) {
	for _, tc := range []struct {
		name, script string
		timeout      time.Duration
		want         vip.Result
	}{
		{"until the timeout", "exec yes", 5 * short, vip.Result{Outcome: vip.Fail, Class: vip.ClassTimeout, Detail: "killed at the timeout: y"}},
		{"in one line", `exec tr '\0' y < /dev/zero`, 5 * short, vip.Result{Outcome: vip.Fail, Class: vip.ClassTimeout,
			Detail: vip.Line("killed at the timeout: " + strings.Repeat("y", vip.MaxLine))}},
		{"in what it leaves behind", "echo fine; yes & exit 0", long, vip.Result{Outcome: vip.Pass, Detail: "fine"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := cheap(t, &Exec{Command: []string{"/bin/sh", "-c", tc.script}}, tc.timeout, nil)
			expect(t, got, tc.want.Outcome, tc.want.Class, tc.want.Detail)
		})
	}
}
