package hint

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// typo is a unit that is not there. That it is reported tells that the engine listens.
var typo = Watch{Check: "typo", Unit: "typo.service"}

// listens waits until the engine hears of units.
func (w *watching) listens() {
	w.t.Helper()
	w.reports("systemd knows no typo.service", func(r Report) bool {
		return len(r.Missing) == 1 && r.Missing[0].Check == "typo" && strings.Contains(r.Missing[0].Detail, "systemd knows no typo.service")
	})
}

// deaf waits until it says of a check that it cannot hear of units, and why.
func (w *watching) deaf(check, why string) {
	w.t.Helper()
	w.reports(why, func(r Report) bool {
		for _, m := range r.Missing {
			if m.Check == check && m.Source == Unit && strings.Contains(m.Detail, why) {
				return true
			}
		}
		return false
	})
}

// is matches a hint that a unit is in a state.
func is(check, unit, state string) func(Hint) bool {
	return func(h Hint) bool {
		return h.Check == check && h.Source == Unit && h.Gone == (state == "failed" || state == "inactive") &&
			strings.HasPrefix(h.Detail, unit+" is "+state+",")
	}
}

func TestUnitThatIsKilledOrStopped(t *testing.T) {
	s := beginSystemd(t)
	s.unit("web.service", forever)
	s.unit("other.service", forever)
	s.must("start", "web.service")
	w := watch(t, Watch{Check: "web", Unit: "web.service"}, Watch{Check: "web too", Unit: "web.service"}, Watch{Check: "neighbour", Unit: "dbus.service"}, typo)
	w.listens()
	for range 3 {
		s.kill("web.service")
		w.wait("killed", is("web", "web.service", "failed"))
		w.wait("killed, for another check", is("web too", "web.service", "failed"))
		s.must("start", "web.service")
		w.wait("started again", is("web too", "web.service", "active"))
		s.must("stop", "web.service")
		w.wait("stopped", is("web too", "web.service", "inactive"))
		s.must("start", "web.service")
		w.wait("started again", is("web too", "web.service", "active"))
	}
	if rest := w.said(); len(rest) > 0 {
		t.Errorf("%+v", rest)
	}
	s.must("start", "other.service")
	s.must("stop", "other.service")
	s.must("stop", "web.service") // what systemd says comes in order: the engine has heard of the other by then
	for _, h := range w.until("stopped", is("web too", "web.service", "inactive")) {
		if !strings.HasPrefix(h.Detail, "web.service is ") {
			t.Errorf("nobody asked for it: %+v", h)
		}
	}
}

func TestUnitThatIsNotThereYet(t *testing.T) {
	s := beginSystemd(t)
	s.unit("unloaded.service", forever)
	w := watch(t, Watch{Check: "web", Unit: "unloaded.service"}, Watch{Check: "late", Unit: "late@1-a.service"}, Watch{Check: "bad", Unit: "no.such-type"})
	w.deaf("late", "systemd knows no late@1-a.service")
	w.deaf("bad", "Unit name no.such-type is not valid") // which makes nobody else deaf
	s.must("start", "unloaded.service")
	w.wait("started", is("web", "unloaded.service", "active"))
	for range 2 { // systemd forgets a unit that is stopped, and knows it anew
		s.must("stop", "unloaded.service")
		w.wait("stopped", is("web", "unloaded.service", "inactive"))
		s.must("start", "unloaded.service")
		w.wait("started", is("web", "unloaded.service", "active"))
	}

	s.unit("late@.service", forever)
	s.must("start", "late@1-a.service")
	w.wait("a new one is started", is("late", "late@1-a.service", "active"))
	w.reports("it is there", func(r Report) bool { return len(r.Missing) == 1 && r.Missing[0].Check == "bad" })
}

func TestUnitsThatAreReadAnew(t *testing.T) {
	s := beginSystemd(t)
	s.unit("web.service", forever)
	s.must("start", "web.service")
	w := watch(t, Watch{Check: "web", Unit: "web.service"}, Watch{Check: "alias", Unit: "www.service"})
	w.deaf("alias", "systemd knows no www.service")
	for _, how := range []string{"daemon-reload", "daemon-reexec"} {
		if err := os.Symlink("web.service", filepath.Join(s.dir, "units", "www.service")); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
		s.must(how)
		w.reports(how, func(r Report) bool { return len(r.Missing) == 0 })
		s.kill("web.service")
		w.wait("killed after "+how, is("web", "web.service", "failed"))
		s.must("start", "web.service")
		w.wait("started after "+how, is("alias", "www.service", "active"))
		s.must("stop", "web.service")
		w.wait("stopped after "+how, is("alias", "www.service", "inactive"))
		s.must("start", "web.service")
		w.wait("started after "+how, is("alias", "www.service", "active"))
	}
}

func TestUnitThatStartsOverAndOver(t *testing.T) {
	s := beginSystemd(t)
	s.unit("loop.service", "[Service]\nRestart=always\nRestartSec=0\nExecStart=sleep 0.05\n")
	s.unit("web.service", forever+"Restart=always\nRestartSec=0\n")
	s.must("start", "web.service")
	w := watch(t, Watch{Check: "loop", Unit: "loop.service"}, Watch{Check: "web", Unit: "web.service"}, typo)
	w.listens()
	s.must("start", "loop.service")
	for range 10 {
		w.wait("it ends", is("loop", "loop.service", "activating"))
		w.wait("it is there", is("loop", "loop.service", "active"))
	}
	for range 3 {
		s.kill("web.service")
		w.wait("killed", is("web", "web.service", "activating")) // it is not gone: systemd is about to start it
		w.wait("started by systemd", is("web", "web.service", "active"))
	}
	s.must("stop", "loop.service")
	w.wait("the loop is stopped", is("loop", "loop.service", "inactive"))
}

func TestBusOfTheUnitsEndsAndComesBack(t *testing.T) {
	s := beginSystemd(t)
	s.unit("web.service", forever)
	s.must("start", "web.service")
	w := watch(t, Watch{Check: "web", Unit: "web.service"}, typo)
	w.listens()

	s.kill("dbus.service")
	w.deaf("web", "D-Bus ended; does dbus run?")
	s.must("start", "dbus.service")
	w.listens()
	s.kill("web.service")
	w.wait("killed", is("web", "web.service", "failed"))

	s.must("start", "web.service")
	w.wait("started", is("web", "web.service", "active"))
	s.must("stop", "dbus.socket", "dbus.service")
	s.kill("web.service") // unheard of
	w.deaf("web", "does dbus run")
	s.must("start", "dbus.socket", "dbus.service")
	w.wait("what happened meanwhile", is("web", "web.service", "failed"))
	w.listens()
}

func TestNoBusForTheUnits(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+filepath.Join(dir, "none"))
	w := watch(t, Watch{Check: "web", Unit: "web.service", Files: []string{filepath.Join(dir, "file")}}, Watch{Check: "drain", Files: []string{dir}, Begin: true})
	w.deaf("web", "none: connect: no such file or directory; does dbus run")
	w.wait("files are watched", came("drain", File))
	write(t, filepath.Join(dir, "file"), "x")
	w.wait("files of the same check, too", came("web", File))
}

func TestNothingIsLeftOfUnits(t *testing.T) {
	s := beginSystemd(t)
	s.unit("web.service", forever)
	s.must("start", "web.service")
	before, ignore := descriptors(t), goleak.IgnoreCurrent()
	t.Run("watch", func(t *testing.T) {
		w := watch(t)
		for range 20 {
			w.Apply([]Watch{{Check: "web", Unit: "web.service"}, typo})
			w.listens()
			w.Apply(nil)
			w.reports("nothing is missing", func(r Report) bool { return len(r.Missing) == 0 })
		}
		w.Apply([]Watch{{Check: "web", Unit: "web.service"}, typo})
		w.listens()
		s.kill("dbus.service")
		w.deaf("web", "D-Bus ended")
		s.must("start", "dbus.service")
		w.listens()
	})
	goleak.VerifyNone(t, ignore)
	poll(t, "all descriptors are closed", func() bool { return descriptors(t) <= before })
}
