package feed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// program is a Command that prints and ends as the test says.
type program struct {
	stdout io.Writer
	refuse error      // of Start
	exit   chan error // what Wait returns
}

func (p *program) Start() error { return p.refuse }
func (p *program) Wait() error  { return <-p.exit }

func (p *program) print(t *testing.T, lines ...string) {
	t.Helper()
	if _, err := io.WriteString(p.stdout, strings.Join(lines, "\n")+"\n"); err != nil {
		t.Error(err)
	}
}

// follow starts a program in a bubble.
func follow(t *testing.T) (*program, *Feed[event]) {
	t.Helper()
	p := &program{exit: make(chan error, 1)}
	f, err := Follow(p, &p.stdout, decode)
	if err != nil {
		t.Fatal(err)
	}
	return p, f
}

func decode(r io.Reader) iter.Seq2[event, error] { return Decode[event](r, "test") }

// number matches the event with this number.
func number(n int) func(event) bool { return func(e event) bool { return e.Number == n } }

func line(n int) string { return fmt.Sprintf("{\"number\":%d}", n) }

// A goroutine that outlives Done would make the bubbles of these tests panic.

func TestWaitFindsWhatHasHappenedAndWhatWill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, f := follow(t)
		p.print(t, line(1), `{"number":2,"text":"first"}`, `{"number":2,"text":"second"}`)
		time.AfterFunc(3*time.Second, func() { p.print(t, line(3)) })
		start := time.Now()
		for _, want := range []struct {
			event event
			after time.Duration
		}{{event{Number: 3}, 3 * time.Second}, {event{2, "first"}, 3 * time.Second}, {event{Number: 1}, 3 * time.Second}} {
			got, err := f.Wait(t.Context(), 5*time.Second, "an event", number(want.event.Number))
			if got != want.event || err != nil || time.Since(start) != want.after {
				t.Errorf("%+v, %v after %s, want %+v after %s", got, err, time.Since(start), want.event, want.after)
			}
		}
		if diff := cmp.Diff([]event{{2, "first"}, {2, "second"}}, f.All(number(2))); diff != "" {
			t.Errorf("all (-want +got):\n%s", diff)
		}
		p.exit <- nil
		<-f.Done()
	})
}

func TestMatchSeesEachEventOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, f := follow(t)
		p.print(t, line(1), line(2))
		time.AfterFunc(time.Second, func() { p.print(t, line(3)) })
		var seen []int
		_, err := f.Wait(t.Context(), 2*time.Second, "the third", func(e event) bool {
			seen = append(seen, e.Number)
			return len(seen) == 3
		})
		if diff := cmp.Diff([]int{1, 2, 3}, seen); diff != "" || err != nil {
			t.Errorf("error %v, seen (-want +got):\n%s", err, diff)
		}
		p.exit <- nil
		<-f.Done()
	})
}

func TestWaitEnds(t *testing.T) {
	const limit = 5 * time.Second
	for _, test := range []struct {
		name  string
		does  func(t *testing.T, p *program, giveUp context.CancelFunc) // after a second
		want  string
		after time.Duration
	}{
		{"at its limit", func(t *testing.T, p *program, _ context.CancelFunc) { p.print(t, line(2)) }, "not seen within 5s: event 7", limit},
		{"with its context", func(_ *testing.T, _ *program, giveUp context.CancelFunc) { giveUp() }, "context canceled", time.Second},
		{"with the command", func(_ *testing.T, p *program, _ context.CancelFunc) { p.exit <- nil }, "not seen: event 7: the instrument ended: EOF", time.Second},
		{"with a command that fails", func(_ *testing.T, p *program, _ context.CancelFunc) { p.exit <- errors.New("exit status 1") }, "not seen: event 7: the instrument ended: read test events: exit status 1", time.Second},
		{"at a line that is no event", func(t *testing.T, p *program, _ context.CancelFunc) { p.print(t, "nonsense", line(7)) }, `not seen: event 7: the instrument ended: decode test event "nonsense\n": `, time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, f := follow(t)
				p.print(t, line(1))
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				time.AfterFunc(time.Second, func() { test.does(t, p, cancel) })
				start := time.Now()
				e, err := f.Wait(ctx, limit, "event 7", number(7))
				if err == nil || !strings.HasPrefix(err.Error(), test.want) || e != (event{}) {
					t.Errorf("%+v, error %v, want %q", e, err, test.want)
				}
				if got := time.Since(start); got != test.after {
					t.Errorf("after %s, want %s", got, test.after)
				}
				if _, err := f.Wait(t.Context(), limit, "event 1", number(1)); err != nil {
					t.Errorf("what came before: %v", err)
				}
				select {
				case p.exit <- nil: // if it runs still
				default:
				}
				<-f.Done()
			})
		})
	}
}

func TestFeedNeverBlocksItsCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, f := follow(t)
		p.print(t, "nonsense")
		for range 1000 {
			p.print(t, strings.Repeat("more", 1000))
		}
		select {
		case <-f.Done():
			t.Error("done before the command has ended")
		default:
		}
		p.exit <- nil
		<-f.Done()
	})
}

// printer prints in its Start, before it fails there: as a command of a lab
// does whose context ends in that moment.
type printer struct{ program }

func (p *printer) Start() error {
	if _, err := io.WriteString(p.stdout, line(1)+"\n"); err != nil {
		return err
	}
	return p.refuse
}

func TestAStartThatPrintsAndFailsIsNotBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a Write that nobody reads would deadlock the bubble
		refused := errors.New("context canceled")
		p := &printer{program{refuse: refused}}
		if f, err := Follow(p, &p.stdout, decode); !errors.Is(err, refused) || f != nil {
			t.Errorf("feed %v, error %v", f, err)
		}
	})
}

func TestFollowSaysWhyItCannotStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &program{refuse: errors.New("no such program")}
		if f, err := Follow(p, &p.stdout, decode); f != nil || !errors.Is(err, p.refuse) {
			t.Errorf("%v, %v", f, err)
		}
	})
}
