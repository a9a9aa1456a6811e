package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/status"
	"github.com/anyvip/anyvip/pkg/vip"
)

// notifier tells systemd what the Snapshot says: READY once the first round of
// checks is over, STOPPING, a status line, and the watchdog's ping while the
// alive gate is open. Without NOTIFY_SOCKET it does nothing.
type notifier struct {
	snapshots *status.Publisher
	alive     alive
	log       *slog.Logger

	systemd net.Conn // nil: nobody listens
	failed  bool     // the latest word was not heard, which is in the log
}

func (n *notifier) run(ctx context.Context) error {
	if err := n.open(); err != nil {
		n.log.Warn("systemd will not be told anything; see NOTIFY_SOCKET", "err", err)
	}
	defer n.close()
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		n.log.Warn("watchdog settings of systemd not understood", "err", err)
	}
	if every == 0 {
		every = time.Hour
	}
	var said policy.Phase
	var serial uint64
	line := ""
	for ctx.Err() == nil {
		wait, cancel := context.WithTimeout(ctx, every/2)
		s, err := n.snapshots.Next(wait, serial)
		cancel()
		if n.alive.ok() {
			n.say(daemon.SdNotifyWatchdog)
		}
		if err != nil {
			continue // nothing new
		}
		serial = s.Serial
		if s.Phase > said && n.sayPhase(s.Phase) {
			said = s.Phase
		}
		if now := statusLine(s); now != line && n.say("STATUS="+now) {
			line = now
		}
	}
	return nil
}

// open opens the socket once: one for each word, as the library does, would fail
// for lack of descriptors, and systemd would take the watchdog's silence for ours.
func (n *notifier) open() error {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return err
	}
	n.systemd = c
	return nil
}

func (n *notifier) close() {
	if n.systemd != nil {
		_ = n.systemd.Close()
	}
}

// sayPhase says whether systemd has heard what it should of a phase.
func (n *notifier) sayPhase(p policy.Phase) bool {
	switch p {
	case policy.Running:
		return n.say(daemon.SdNotifyReady)
	case policy.Stopping:
		return n.say(daemon.SdNotifyStopping)
	case policy.Starting, policy.Stopped:
	}
	return true
}

// sayLimit is how long a word may wait for room in systemd's queue.
const sayLimit = time.Second

// say says whether systemd has heard it, or nobody listens.
func (n *notifier) say(state string) bool {
	if n.systemd == nil {
		return true
	}
	_ = n.systemd.SetWriteDeadline(time.Now().Add(sayLimit))
	_, err := n.systemd.Write([]byte(state))
	if err != nil && !n.failed {
		n.log.Warn("systemd not told", "state", state, "err", err)
	}
	n.failed = err != nil
	return err == nil
}

// statusLine is what `systemctl status` shows.
func statusLine(s *status.Snapshot) string {
	announced, up := 0, 0
	for _, d := range s.Desired.Decisions {
		if d.Disposition.Announces() {
			announced++
		}
	}
	for _, session := range s.Desired.Shown {
		if session.State == vip.Established {
			up++
		}
	}
	return fmt.Sprintf("%s: %d of %d services announced, %d of %d sessions Established",
		s.Phase, announced, len(s.Desired.Decisions), up, len(s.Input.Peers))
}
