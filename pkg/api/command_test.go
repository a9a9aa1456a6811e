package api

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	anyvipv1 "github.com/anyvip/anyvip/pkg/api/anyvip/v1"
	"github.com/anyvip/anyvip/pkg/status"
	"github.com/anyvip/anyvip/pkg/vip"
)

// fakeAgent keeps what it is asked, and answers as it is told.
type fakeAgent struct {
	mu    sync.Mutex
	asked []Command
	reply Reply
	err   error
	hang  bool
}

func (f *fakeAgent) Do(ctx context.Context, c Command) (Reply, error) {
	f.mu.Lock()
	f.asked = append(f.asked, c)
	reply, err, hang := f.reply, f.err, f.hang
	f.mu.Unlock()
	if hang {
		<-ctx.Done()
		return Reply{}, ctx.Err()
	}
	return reply, err
}

func (f *fakeAgent) answers(r Reply, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked, f.reply, f.err = nil, r, err
}

func TestADrainIsHandedOverWithWhoAsks(t *testing.T) {
	s := serve(t)
	c := dial(t, s.socket)
	s.agent.answers(Reply{Replaced: true, Warning: "the disk is full"}, nil)
	reply, err := c.Drain(t.Context(), Drain{Service: "web", Force: true, Reason: "new\ndisks ", For: 2 * time.Hour})
	if err != nil || !reply.GetReplaced() || reply.GetWarning() != "the disk is full" {
		t.Errorf("%v, %v", reply, err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if want := (Drain{Service: "web", Force: true, Reason: "new disks", Actor: Actor{me.Username, true}, For: 2 * time.Hour}); len(s.agent.asked) != 1 || s.agent.asked[0] != want {
		t.Errorf("asked %+v, want %+v", s.agent.asked, want)
	}
	s.agent.answers(Reply{}, nil)
	if _, err := c.Drain(t.Context(), Drain{}); err != nil || s.agent.asked[0] != (Drain{Actor: Actor{me.Username, true}}) {
		t.Errorf("%+v, %v", s.agent.asked, err)
	}
	s.agent.answers(Reply{Warning: "the node is drained too"}, nil)
	if reply, err := c.Undrain(t.Context(), "web"); err != nil || reply.GetWarning() == "" || s.agent.asked[0] != (Undrain{Service: "web", Actor: Actor{me.Username, true}}) {
		t.Errorf("%+v, %v", s.agent.asked, err)
	}
}

func TestWishesThatMakeNoSenseAreRefused(t *testing.T) {
	s := serve(t)
	c := dial(t, s.socket)
	for name, ask := range map[string]func() error{
		"say a service, or node": func() error { _, err := c.control.Drain(t.Context(), &anyvipv1.DrainRequest{}); return err },
		"not both": func() error {
			_, err := c.control.Undrain(t.Context(), &anyvipv1.UndrainRequest{Service: "web", Node: true})
			return err
		},
		"at most 256": func() error {
			_, err := c.Drain(t.Context(), Drain{Service: "web", Reason: strings.Repeat("x", 257)})
			return err
		},
		"over before it begins": func() error { _, err := c.Drain(t.Context(), Drain{Service: "web", For: -time.Hour}); return err },
		"more than zero": func() error {
			_, err := c.control.Drain(t.Context(), &anyvipv1.DrainRequest{Service: "web", Duration: durationpb.New(0)})
			return err
		},
	} {
		if err := ask(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(s.agent.asked) > 0 {
		t.Errorf("the agent was asked %v", s.agent.asked)
	}
	s.agent.answers(Reply{}, Unknown("service", "wbe", "web"))
	if _, err := c.Drain(t.Context(), Drain{Service: "wbe"}); err == nil || err.Error() != `there is no service "wbe"; did you mean web?` {
		t.Errorf("an unknown service: %v", err)
	}
	busy := fmt.Errorf("%w: too many", ErrBusy)
	s.agent.answers(Reply{}, busy)
	if _, err := c.Drain(t.Context(), Drain{Service: "web"}); err == nil || err.Error() != busy.Error() {
		t.Errorf("a busy agent: %v", err)
	}
	if _, err := c.control.Undrain(t.Context(), &anyvipv1.UndrainRequest{Service: "web"}); grpcstatus.Code(err) != codes.ResourceExhausted {
		t.Errorf("a busy agent: %v", err)
	}
}

func TestCheckNowWaitsForAProbeThatBeganAfterwards(t *testing.T) {
	s := serve(t)
	c := dial(t, s.socket)
	asked := time.Now()
	s.agent.answers(Reply{At: asked}, nil)
	check := func(serial uint64, at time.Time, detail string) {
		s.snapshots.Publish(&status.Snapshot{Serial: serial, Checks: []status.Check{{Name: "other", Last: vip.Result{At: asked.Add(time.Hour)}},
			{Name: "web", Last: vip.Result{At: at, Latency: time.Second, Outcome: vip.Pass, Detail: detail}}}})
	}
	check(1, asked.Add(-time.Minute), "long ago")
	go func() {
		check(2, asked.Add(500*time.Millisecond), "under way when it was asked")
		check(3, asked.Add(2*time.Second), "now")
	}()
	got, err := c.CheckNow(t.Context(), "web")
	if err != nil || got.GetName() != "web" || got.GetLast().GetDetail() != "now" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestACallEndsWithTheAgent(t *testing.T) {
	s := serve(t)
	c := dial(t, s.socket)
	s.agent.hang = true
	failed := make(chan error, 1)
	go func() { _, err := c.Drain(t.Context(), Drain{Service: "web"}); failed <- err }()
	for {
		s.agent.mu.Lock()
		n := len(s.agent.asked)
		s.agent.mu.Unlock()
		if n > 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	s.stop()
	if err := <-failed; err == nil || !strings.Contains(err.Error(), "has ended") {
		t.Error(err)
	}
}

func TestAHeartbeatIsHandedOver(t *testing.T) {
	s := serve(t)
	c := dial(t, s.socket)
	if err := c.Heartbeat(t.Context(), "queue", anyvipv1.Outcome_DEGRADED, "12 wait"); err != nil {
		t.Fatal(err)
	}
	got, ok := s.agent.asked[0].(Heartbeat)
	if !ok || got.Check != "queue" || got.Outcome != vip.Degraded || got.Detail != "12 wait" || !got.Actor.Operator {
		t.Errorf("%+v", s.agent.asked)
	}
	if err := c.Heartbeat(t.Context(), "queue", anyvipv1.Outcome_ERROR, ""); err == nil || !strings.Contains(err.Error(), "no outcome") {
		t.Errorf("an outcome that nobody reports: %v", err)
	}
	s.agent.answers(Reply{}, fmt.Errorf("%w: user app may not", ErrForbidden))
	if err := c.Heartbeat(t.Context(), "queue", anyvipv1.Outcome_PASS, ""); err == nil || !strings.Contains(err.Error(), "may not") {
		t.Errorf("forbidden: %v", err)
	}
}

// Who is let in by the socket's mode may look; changing something takes an operator.
func TestLookingIsNotChanging(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be somebody else")
	}
	for _, operators := range [][]string{nil, {"nobody"}} {
		s := serveAs(t, func(o *Options) { o.Group, o.Operators = "nogroup", operators })
		s.snapshots.Publish(fullSnapshot())
		for path := s.socket; path != os.TempDir() && path != "/"; path = filepath.Dir(path) {
			if info, err := os.Stat(path); err == nil && info.IsDir() {
				if err := os.Chmod(path, 0o755); err != nil {
					t.Fatal(err)
				}
			}
		}
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), "ANYVIP_TEST_SOCKET="+s.socket)
		nobody := uint32(65534)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		want := "drain: user nobody may look, but not change anything"
		if operators != nil {
			want = "drain: done"
		}
		if !strings.Contains(string(out), "status: 7") || !strings.Contains(string(out), want) || !strings.Contains(string(out), "heartbeat: done") {
			t.Errorf("operators %v:\n%s", operators, out)
		}
		if h, ok := s.agent.asked[len(s.agent.asked)-1].(Heartbeat); !ok || h.Actor != (Actor{"nobody", operators != nil}) {
			t.Errorf("operators %v: asked %+v", operators, s.agent.asked)
		}
	}
}

// asNobody is the other end of TestLookingIsNotChanging.
func asNobody(socket string) error {
	c, err := Dial(socket)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx := context.Background()
	st, err := c.Status(ctx)
	fmt.Println("status:", st.GetSerial(), err)
	say := func(what string, err error) {
		if err == nil {
			fmt.Println(what + ": done")
		} else {
			fmt.Println(what+":", err)
		}
	}
	_, err = c.Drain(ctx, Drain{Service: "web"})
	say("drain", err)
	say("heartbeat", c.Heartbeat(ctx, "queue", anyvipv1.Outcome_PASS, ""))
	return nil
}
