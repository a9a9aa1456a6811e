package lease

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyvip/anyvip/pkg/durable"
	"github.com/anyvip/anyvip/pkg/vip"
)

func TestALeaseIsWrittenDownBeforeItIsAdded(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, nil, func(t *testing.T, a *agent) {
		h.before = func(r request) {
			if w := a.written(); !slices.Contains(w, r.spot.addr.String()) {
				t.Errorf("%s %s while the file has %v", r.verb, r.spot.addr, w)
			}
		}
		a.apply(candidate(v4))
		if w := a.written(); !slices.Equal(w, []string{v4.String()}) {
			t.Errorf("file: %v", w)
		}
		a.apply(held(v4), held(v6))
		if a.fact(v4).State != vip.AddressPresent || a.fact(v6).State != vip.AddressPresent {
			t.Errorf("report: %+v", a.latest())
		}
		a.apply() // removed before it is struck out
		if w := a.written(); len(w) != 0 || h.has(v4) {
			t.Errorf("file: %v", w)
		}
	})
}

// fakeDisk is a disk that fails or hangs.
type fakeDisk struct {
	mu    sync.Mutex
	err   error
	hangs chan struct{}
	uses  int
}

func (d *fakeDisk) replace(path string, content []byte) error {
	d.mu.Lock()
	d.uses++
	hangs := d.hangs
	d.mu.Unlock()
	if hangs != nil {
		<-hangs
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return d.err
	}
	return durable.Replace(path, content)
}

func (d *fakeDisk) fail(err error) { d.mu.Lock(); defer d.mu.Unlock(); d.err = err }
func (d *fakeDisk) hang()          { d.mu.Lock(); defer d.mu.Unlock(); d.hangs = make(chan struct{}) }
func (d *fakeDisk) used() int      { d.mu.Lock(); defer d.mu.Unlock(); return d.uses }

func TestTakingACandidateNeedsNoDisk(t *testing.T) {
	h, d := newFakeHost(), &fakeDisk{}
	bubble(t, h, func(a *agent) { a.engine.disk.replace = d.replace }, func(t *testing.T, a *agent) {
		a.apply(candidate(v4), candidate(v6))
		uses := d.used()
		d.hang()
		a.apply(held(v4), held(v6))
		if f := a.fact(v4); f.State != vip.AddressPresent || d.used() != uses {
			t.Errorf("%d uses of the disk, fact: %+v", d.used()-uses, f)
		}
	})
}

func TestNothingIsAddedThatCannotBeWrittenDown(t *testing.T) {
	h, d := newFakeHost(), &fakeDisk{}
	bubble(t, h, func(a *agent) { a.engine.disk.replace = d.replace }, func(t *testing.T, a *agent) {
		other := many(1)[0]
		a.apply(held(v4))
		d.fail(errors.New("no space left on device"))
		a.apply(held(v4), held(v6), candidate(other))
		time.Sleep(time.Minute)
		if f := a.fact(v6); f.State != vip.AddressRefused || !strings.Contains(f.Detail, "leases.json: no space left on device; make the state directory work") {
			t.Errorf("fact: %+v", f)
		}
		if f := a.fact(other); f.State != vip.AddressAbsent || !strings.Contains(f.Detail, "no space left on device") {
			t.Errorf("candidate: %+v", f)
		}
		if f := a.fact(v4); f.State != vip.AddressPresent || f.Detail != "" || !h.has(v4) {
			t.Errorf("what is there: %+v", f)
		}
		if n := a.log.count("file of leases does not work"); n != 1 {
			t.Errorf("logged %d times", n)
		}
		if n := d.used(); n > 70 {
			t.Errorf("%d tries in a minute", n)
		}
		a.apply(candidate(v4), candidate(v6), candidate(other)) // what was written before can still be taken
		a.apply(held(v4), held(v6), candidate(other))
		if f := a.fact(v4); f.State != vip.AddressPresent {
			t.Errorf("taken again: %+v", f)
		}
		d.fail(nil)
		time.Sleep(lastRetry)
		if f := a.fact(v6); f.State != vip.AddressPresent || a.fact(other).Detail != "" || !a.log.has("works again") {
			t.Errorf("then: %+v", f)
		}
	})
}

// A write that fails may have come to its end all the same: what it was to strike out
// does not count as written down any more.
func TestAFailedWriteLeavesNothingForSure(t *testing.T) {
	h, d := newFakeHost(), &fakeDisk{}
	bubble(t, h, func(a *agent) { a.engine.disk.replace = d.replace }, func(t *testing.T, a *agent) {
		a.apply(candidate(v4), candidate(v6))
		d.fail(errors.New("input/output error"))
		a.apply(candidate(v4))
		a.apply(held(v4), held(v6))
		time.Sleep(time.Second)
		if f := a.fact(v6); f.State != vip.AddressRefused || h.has(v6) || !h.has(v4) {
			t.Errorf("fact: %+v", f)
		}
	})
}

func TestADiskThatHangsHoldsNothingUp(t *testing.T) {
	h, d := newFakeHost(), &fakeDisk{}
	bubble(t, h, func(a *agent) { a.engine.disk.replace = d.replace }, func(t *testing.T, a *agent) {
		four := held(v4)
		four.Interval = 10 * time.Millisecond
		a.apply(four)
		d.hang()
		a.apply(four, held(v6))
		if f := a.fact(v6); f.State != vip.AddressAbsent || f.Detail != notYet {
			t.Errorf("fact: %+v", f)
		}
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			if age := time.Since(a.engine.LastPass()); age > time.Second || !h.has(v4) {
				t.Fatalf("the last pass is %s old", age)
			}
		}
		if f := a.fact(v6); f.State != vip.AddressRefused || !strings.Contains(f.Detail, "the disk has not answered for 2s") {
			t.Errorf("fact: %+v", f)
		}
		close(d.hangs)
		if f := a.fact(v6); f.State != vip.AddressPresent {
			t.Errorf("then: %+v", f)
		}
	})
}

func TestRunEndsAlthoughTheDiskHangs(t *testing.T) {
	h, d := newFakeHost(), &fakeDisk{}
	bubble(t, h, func(a *agent) { a.engine.disk.replace, d.hangs = d.replace, make(chan struct{}) }, func(_ *testing.T, a *agent) {
		a.apply(held(v4))
		time.AfterFunc(3*time.Second, func() { close(d.hangs) }) // Run has ended by then
	})
}

func TestACorruptFileIsMovedAside(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, func(a *agent) {
		if err := os.WriteFile(a.file(), []byte("{\x00"), 0o600); err != nil {
			t.Fatal(err)
		}
		h.put(v4, eth1, 32, 6*time.Second) // of a run before
	}, func(t *testing.T, a *agent) {
		a.apply(held(v4), held(v6))
		if f := a.fact(v4); f.State != vip.AddressPresent || f.Ours {
			t.Errorf("nobody knows whose it is: %+v", f)
		}
		if f := a.fact(v6); f.State != vip.AddressPresent || !f.Ours {
			t.Errorf("a new one: %+v", f)
		}
		if raw, err := os.ReadFile(a.file() + ".corrupt"); string(raw) != "{\x00" || !a.log.has("level=ERROR msg=\"file of leases is corrupt, moved aside") {
			t.Errorf("moved aside: %q %v\n%s", raw, err, a.log)
		}
		time.Sleep(6*time.Second + lookEvery)
		if f := a.fact(v4); f.State != vip.AddressPresent || !f.Ours {
			t.Errorf("after it expired: %+v", f)
		}
	})
}

func TestAFileThatCannotBeReadIsReadLater(t *testing.T) {
	h := newFakeHost()
	bubble(t, h, func(a *agent) {
		if err := os.MkdirAll(filepath.Join(a.file(), "x"), 0o700); err != nil { // not a file
			t.Fatal(err)
		}
	}, func(t *testing.T, a *agent) {
		a.apply(held(v4))
		if f := a.fact(v4); f.State != vip.AddressRefused || !strings.Contains(f.Detail, "is no regular file") || h.has(v4) {
			t.Errorf("fact: %+v", f)
		}
		if err := os.RemoveAll(a.file()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(lastRetry)
		if f := a.fact(v4); f.State != vip.AddressPresent {
			t.Errorf("then: %+v", f)
		}
	})
}
