package agent

import (
	"context"
	"fmt"
	"log/slog"
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
}

func (n notifier) run(ctx context.Context) error {
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
		if s.Phase > said {
			said = s.Phase
			switch s.Phase {
			case policy.Running:
				n.say(daemon.SdNotifyReady)
			case policy.Stopping:
				n.say(daemon.SdNotifyStopping)
			case policy.Starting, policy.Stopped:
			}
		}
		if now := statusLine(s); now != line {
			line = now
			n.say("STATUS=" + line)
		}
	}
	return nil
}

func (n notifier) say(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		n.log.Debug("systemd not told", "state", state, "err", err)
	}
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
