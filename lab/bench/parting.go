package bench

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"
)

// parting is a way in which s1 is lost, and how it comes back.
type parting struct {
	name string
	// ready prepares it and returns what does it, which says when.
	ready  func(ctx context.Context, p *pair) (func() (time.Time, error), error)
	repair func(ctx context.Context, p *pair) error
}

var partings = []parting{partingStop, partingKill, partingCut, partingSilence}

var partingStop = parting{
	name: "SIGTERM",
	ready: func(_ context.Context, p *pair) (func() (time.Time, error), error) {
		return func() (time.Time, error) {
			return time.Now(), p.lab.Daemon(p.node("s1")).Signal(syscall.SIGTERM)
		}, nil
	},
	repair: startAgain,
}

// partingKill ends all processes of the daemon at once: stopped first, the parent cannot see its child die, nor the
// child its parent, and say goodbye.
var partingKill = parting{
	name: "kill -9",
	ready: func(ctx context.Context, p *pair) (func() (time.Time, error), error) {
		state, err := p.lab.Daemon(p.node("s1")).State()
		if err != nil {
			return nil, err
		}
		children, err := output(ctx, p.lab, p.node("s1"), fmt.Sprintf("pgrep -P %d || :", state.Pid))
		line := fmt.Sprintf("kill -STOP %[1]d; kill -9 %[2]s %[1]d", state.Pid, strings.Join(strings.Fields(children), " "))
		return func() (time.Time, error) { return p.s1.say(line) }, err
	},
	repair: startAgain,
}

// startAgain starts the daemon of s1 on a host that has no VIP, whatever the last one left behind.
func startAgain(ctx context.Context, p *pair) error {
	daemon := p.lab.Daemon(p.node("s1"))
	if _, err := daemon.Wait(ctx); err != nil {
		return err
	}
	if _, err := output(ctx, p.lab, p.node("s1"), "ip address flush dev eth1 to "+keptRange); err != nil {
		return err
	}
	return daemon.Start(ctx)
}

var partingCut = parting{
	name: "link cut",
	ready: func(_ context.Context, p *pair) (func() (time.Time, error), error) {
		return func() (time.Time, error) { return time.Now(), p.setPort(false) }, nil
	},
	repair: func(_ context.Context, p *pair) error { return p.setPort(true) },
}

// setPort cuts or heals s1's link, at the switch.
func (p *pair) setPort(up bool) error { return p.lab.SetLink(p.node("sw")+":eth1", up) }

// partingSilence takes the port of s1 out of the switch: nothing is forwarded from s1 or to it, while its link stays up.
var partingSilence = parting{
	name: "silent host",
	ready: func(_ context.Context, p *pair) (func() (time.Time, error), error) {
		return func() (time.Time, error) { return p.sw.say("ip link set eth1 nomaster") }, nil
	},
	repair: func(ctx context.Context, p *pair) error {
		_, err := output(ctx, p.lab, p.node("sw"), "ip link set eth1 master br0")
		return err
	},
}
