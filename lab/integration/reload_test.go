package integration

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// torB is the second peer of s1, with the line before it.
const torB = `
    - name: tor-b
      address: 10.2.1.1
      asn: 65002`

func TestReload(t *testing.T) {
	t.Parallel()
	r := up(t, "tors.clab.yml", options{edits: map[string]func(string) string{"s1": func(text string) string {
		return strings.Replace(text, torB, "", 1)
	}}})
	at := map[string]tor{"tor-a": r.watchTor("tor-a", "eth1", "eth2"), "tor-b": r.watchTor("tor-b", "eth1", "eth2")}
	for _, p := range vips {
		at["tor-a"].route(time.Time{}, p, 2)
		at["tor-b"].route(time.Time{}, p, 1)
	}
	r.statusShows("s1", "one session", agentStatus.established)

	// What is not about routes sends nothing; what is wrong changes nothing; what is
	// about routes is one UPDATE, the only one of all this.
	begin := time.Now()
	r.replace("s1", "interval: 500ms", "interval: 700ms")
	r.replace("s1", "timeout: 400ms", "timeout: 300ms\n    rise: 3\n    fall: 4")
	r.reload("s1", "")

	good := read(t, r.configs["s1"])
	r.replace("s1", "med: 10,", "med: 20, medd: 1,")
	r.reload("s1", "medd: unknown key")
	s := r.mustStatus("s1")
	if s.Phase != "RUNNING" || s.Services[0].Disposition != "ANNOUNCED" || len(s.Sessions) != 1 {
		t.Errorf("after a bad file the status is %s", asJSON(s))
	}
	t.Logf("the status says: %s", s.Reload.Error)
	r.write("s1", good, nil)

	r.replace("s1", "med: 10,", "med: 20,")
	changed := time.Now()
	r.reload("s1", "")
	for _, p := range vips {
		e := at["tor-a"].message(changed, "eth1", "the changed MED of "+p.String(), announces(p))
		t.Logf("the changed MED of %s was on the wire %s after SIGHUP", p, ms(e.Time.Sub(changed)))
		if m := e.Message.Attributes.MED; m == nil || *m != 20 {
			t.Errorf("MED %s, want 20", asJSON(m))
		}
	}
	if sent := at["tor-a"].busy(begin, "eth1"); len(sent) != len(vips) {
		t.Errorf("all of it made %d messages, want one UPDATE for each of %v: %s", len(sent), vips, asJSON(sent))
	}

	// A new peer comes up beside the old one.
	added := time.Now()
	r.replace("s1", "      asn: 65001\n", "      asn: 65001"+torB+"\n")
	r.reload("s1", "")
	for _, p := range vips {
		t.Logf("tor-b has %s %s after its peer was added", p, ms(at["tor-b"].route(added, p, 2).Sub(added)))
	}
	if sent := at["tor-a"].busy(added, "eth1"); len(sent) > 0 {
		t.Errorf("a peer was added, and to the other one went %s", asJSON(sent))
	}

	r.reloadPassword(at)
}

// reloadPassword changes the content of a password file, and nothing else.
func (r *rig) reloadPassword(at map[string]tor) {
	t := r.t
	set := func(password string) {
		r.sh("tor-a", "vtysh -c 'configure terminal' -c 'router bgp 65001' -c 'neighbor 10.1.1.2 password "+password+"'")
	}
	r.sh("s1", "umask 077; echo first > /etc/anyvip/tor-a.md5")
	set("first")
	r.replace("s1", "      asn: 65001\n", "      asn: 65001\n      password_file: /etc/anyvip/tor-a.md5\n")
	r.reload("s1", "")
	r.statusShows("s1", "sessions with a password", agentStatus.established)

	changed := time.Now()
	r.sh("s1", "echo second > /etc/anyvip/tor-a.md5")
	r.reload("s1", "")
	at["tor-a"].message(changed, "eth1", "a Cease", isCease)
	s := r.statusShows("s1", "a password mismatch", func(s agentStatus) bool { return s.session(t, "tor-a").Cause == "SILENT" })
	x := s.session(t, "tor-a")
	t.Logf("another password than FRR's: %s, %s", x.State, x.Detail)
	if !strings.Contains(x.Detail, "another password") {
		t.Errorf("the detail does not speak of a password: %s", x.Detail)
	}
	set("second")
	right := time.Now()
	r.statusShows("s1", "sessions with the new password", agentStatus.established)
	t.Logf("Established %s after FRR got the new password", ms(time.Since(right)))
	for _, p := range vips {
		at["tor-a"].route(right, p, 2)
	}
	if sent := at["tor-b"].busy(changed, "eth1"); len(sent) > 0 {
		t.Errorf("the password of tor-a was changed, and to tor-b went %s", asJSON(sent))
	}
	if x := r.mustStatus("s1").session(t, "tor-b"); x.Flaps != 0 {
		t.Errorf("tor-b flapped %d times", x.Flaps)
	}
}

// reload sends SIGHUP and waits until the status shows that the reload ended,
// refused with an error that contains want, or taken if want is empty.
func (r *rig) reload(node, want string) {
	r.t.Helper()
	before := r.mustStatus(node).Reload
	r.signal(node, syscall.SIGHUP)
	s := r.statusShows(node, "the reload", func(s agentStatus) bool {
		return s.Reload != nil && (before == nil || s.Reload.At.After(before.At))
	})
	if (want == "") != (s.Reload.Error == "") || !strings.Contains(s.Reload.Error, want) {
		r.t.Fatalf("the reload of %s ended with error %q, want %q", node, s.Reload.Error, want)
	}
}
