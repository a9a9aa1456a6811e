package agent

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyvip/anyvip/checks"
	"github.com/anyvip/anyvip/pkg/config"
	"github.com/anyvip/anyvip/pkg/hint"
)

// tellings are what was told, in order.
type tellings struct {
	mu   sync.Mutex
	list []drainFile
}

func (t *tellings) tell(f drainFile) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = append(t.list, f)
}

func (t *tellings) all() []drainFile {
	synctest.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.list)
}

// disk is what looks find; one at /slow waits for the end of what hangs.
type disk struct {
	there atomic.Bool
	hangs atomic.Pointer[chan struct{}]
}

func (d *disk) look(path string) drainFile {
	if c := d.hangs.Load(); c != nil && path == "/slow" {
		<-*c
	}
	return drainFile{there: d.there.Load()}
}

func TestTheDrainFileIsSeenWithoutAHint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var told tellings
		var on disk
		d := newDrainLook("/drain", on.look, told.tell)
		go func() { _ = d.run(ctx) }()
		for i, there := range []bool{true, false, true} {
			time.Sleep(5*time.Second + lookEvery/2)
			synctest.Wait()
			on.there.Store(there)
			time.Sleep(lookEvery)
			if got := told.all(); len(got) != i+1 || got[i].there != there {
				t.Fatalf("told %+v", got)
			}
		}
		on.there.Store(false)
		d.ask()
		if got := told.all(); len(got) != 4 {
			t.Errorf("nobody looks when asked: %+v", got)
		}
		cancel()
		synctest.Wait()
	})
}

func TestADrainFileOnADiskThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var told tellings
		var on disk
		d := newDrainLook("/slow", on.look, told.tell)
		first, second := make(chan struct{}), make(chan struct{})
		on.hangs.Store(&first)
		go func() { _ = d.run(ctx) }()
		time.Sleep(time.Minute)
		if got := told.all(); len(got) != 1 || got[0].there || !strings.Contains(got[0].warning, "/slow: the disk has not answered for 2s") {
			t.Fatalf("told %+v", got)
		}
		d.ask()
		on.there.Store(true)
		on.hangs.Store(nil)
		close(first)
		if got := told.all(); len(got) != 2 || got[1] != (drainFile{there: true}) {
			t.Fatalf("told %+v", got)
		}

		on.hangs.Store(&second)
		time.Sleep(time.Minute)
		other := "/other"
		d.path.Store(&other)
		on.there.Store(false)
		d.ask()
		if got := told.all(); len(got) != 4 || got[3] != (drainFile{}) {
			t.Errorf("the other file waits for the disk of the one before: %+v", got)
		}
		close(second) // too late: what it found is another file's
		if got := told.all(); len(got) != 4 {
			t.Errorf("told %+v", got)
		}
		cancel()
		synctest.Wait()
	})
}

func TestADrainFileOnADiskThatHangsAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var told tellings
		var on disk
		hangs := make(chan struct{})
		on.hangs.Store(&hangs)
		d := newDrainLook("/slow", on.look, told.tell)
		if !d.told.there || !strings.Contains(d.told.warning, "it counts as there") {
			t.Errorf("%+v", d.told)
		}
		go func() { _ = d.run(ctx) }()
		time.Sleep(time.Minute)
		if got := told.all(); len(got) != 0 {
			t.Errorf("told %+v", got)
		}
		close(hangs)
		if got := told.all(); len(got) != 1 || got[0] != (drainFile{}) {
			t.Errorf("told %+v", got)
		}
		cancel()
		synctest.Wait()
	})
}

func TestStatusSaysThatTheKernelDoesNotTellOfTheDrainFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l, mail, snapshots := lonelyLoop(&config.Config{DrainFile: "/etc/anyvip/drain", Checks: []checks.Config{{Name: "web", Rise: 1, Fall: 1, Kind: fakeKind{name: "web"}}}})
		go func() { _ = l.run(ctx) }()
		warning := func() string {
			time.Sleep(2 * publishEvery)
			synctest.Wait()
			return snapshots.Load().Intents
		}
		mail.blind(hint.Report{Missing: []hint.Missing{{Check: drainFileWatch, Source: hint.File, Detail: "/etc/anyvip/drain: permission denied"}}})
		if got, want := warning(), "drain_file is seen within a second, not at once: file: /etc/anyvip/drain: permission denied"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		mail.drainFile(drainFile{warning: "the disk hangs"})
		if got := warning(); !strings.HasSuffix(got, "permission denied; the disk hangs") {
			t.Errorf("%q", got)
		}
		mail.blind(hint.Report{})
		mail.drainFile(drainFile{})
		if got := warning(); got != "" {
			t.Errorf("%q", got)
		}
		cancel()
		synctest.Wait()
	})
}
