package integration

import (
	"syscall"
	"testing"
	"time"

	"github.com/anyvip/anyvip/lab/labtest"
	"github.com/anyvip/anyvip/lab/load"
)

// group is vrrp-group.clab.yml, with routers as pair has them: s1 and keepalived have two sides, which belong together.
type group struct{ pair }

const (
	outsideVIP = "10.0.5.100"
	insideVIP  = "10.9.0.100"
)

// TestVRRPSyncGroup: whatever ends one side on either of them, both sides go to the other
// one, and both return.
func TestVRRPSyncGroup(t *testing.T) {
	t.Parallel()
	labtest.Need(t, "keepalived")
	g := group{pair{up(t, "vrrp-group.clab.yml", options{})}}
	g.is("s1", "ACTIVE")
	g.moved("both are at s1", "s1", func() {})

	for _, side := range []string{"eth2", "eth1"} {
		g.moved("s1 loses "+side, "ka", func() { g.setLink("s1:"+side, false) })
		g.moved("it has it again", "s1", func() { g.setLink("s1:"+side, true) })
		g.is("s1", "ACTIVE")
	}
	g.moved("s1 is drained", "ka", func() { g.sh("s1", "anyvip drain --node --reason test") })
	g.moved("and takes part again", "s1", func() { g.sh("s1", "anyvip undrain --node") })
	g.is("s1", "ACTIVE")

	g.moved("keepalived is the better one", "ka", func() {
		g.replace("s1", "priority: 150", "priority: 50")
		g.signal("s1", syscall.SIGHUP)
	})
	g.is("s1", "BACKUP")
	g.moved("keepalived loses eth1", "s1", func() { g.setLink("ka:eth1", false) })
	g.is("s1", "ACTIVE")
	g.moved("it has it again", "ka", func() { g.setLink("ka:eth1", true) })
	g.is("s1", "BACKUP")
	if odd := g.odds("s1"); len(odd) > 0 {
		t.Errorf("they are at odds: %+v", odd)
	}
}

// moved waits until a server answers on both sides after what act did, and then that the
// other one does on neither.
func (g group) moved(what, server string, act func()) {
	g.t.Helper()
	g.t.Log(what)
	loads, at := g.rig.loads(outsideVIP, insideVIP), time.Now()
	act()
	g.moves(loads, at, server)
	const settled = time.Second
	time.Sleep(settled)
	loads = g.rig.loads(outsideVIP, insideVIP)
	for host, c := range loads {
		c.answered(100, time.Time{}, server)
		c.stop()
		if n := len(c.all(func(e load.Event) bool { return e.Kind == load.Result && e.Request.Server != server })); n > 0 {
			g.t.Errorf("%s: %d requests were not answered by %s", host, n, server)
		}
	}
}

func (g group) setLink(end string, up bool) {
	g.t.Helper()
	if err := g.SetLink(end, up); err != nil {
		g.t.Fatal(err)
	}
}
