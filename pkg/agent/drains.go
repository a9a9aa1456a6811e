package agent

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"strings"
	"time"

	"github.com/anyvip/anyvip/pkg/durable"
	"github.com/anyvip/anyvip/pkg/event"
	"github.com/anyvip/anyvip/pkg/intent"
	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/vip"
)

// takeIntents makes what operators want part of what is known.
func (l *loop) takeIntents(r intent.Report) {
	l.asked = make(map[string]policy.Drain, len(r.Drains))
	for _, d := range r.Drains {
		l.asked[d.Service] = policy.Drain{Since: d.At, Until: d.Until, Force: d.Force, Reason: d.Reason, Actor: d.Actor}
	}
	l.unsaved = r.Detail
	l.warnOfDrains()
	l.joinDrains()
}

// takeDrainFile makes a file part of it.
func (l *loop) takeDrainFile(f drainFile) {
	since := l.drainFile.since
	if f.there != l.drainFile.there {
		what := map[bool]string{true: "drain asked for", false: "undrain asked for"}[f.there]
		l.record(event.Record{Kind: event.KindAgent, Name: l.config.Node, To: what, Reason: strings.TrimSuffix("by drain_file: "+f.reason, ": ")})
		since = l.at
	}
	l.drainFile = f
	l.drainFile.since = since
	l.warnOfDrains()
	l.joinDrains()
}

// warnOfDrains says what is wrong with what operators want, and with how we hear of it.
func (l *loop) warnOfDrains() {
	var all []string
	if l.unsaved != "" {
		all = append(all, l.unsaved)
	}
	if why := l.blind[drainFileWatch]; why != "" {
		all = append(all, "drain_file is seen within a second, not at once: "+why)
	}
	if l.drainFile.warning != "" {
		all = append(all, l.drainFile.warning)
	}
	l.snapshot.Intents = strings.Join(all, "; ")
}

// joinDrains puts both together. What an operator said of the node comes before the
// file.
func (l *loop) joinDrains() {
	l.input.Drains = maps.Clone(l.asked)
	if _, asked := l.asked[""]; l.drainFile.there && !asked {
		if l.input.Drains == nil {
			l.input.Drains = map[string]policy.Drain{}
		}
		l.input.Drains[""] = policy.Drain{Since: l.drainFile.since, Reason: l.drainFile.reason, Actor: "drain_file"}
	}
}

// drainFile is what a look at the file found.
type drainFile struct {
	there  bool
	reason string

	warning string    // why that is not certain; empty: it is
	since   time.Time // when the loop heard of it first
}

// drainFileWatch is the name under which the file is watched; no check can have it.
const drainFileWatch = "drain_file:"

// lookAtDrainFile reads the file that the configuration names, if it names one. It
// blocks for the disk, and is no work for the loop. A file that is there and cannot be
// read drains all the same.
func lookAtDrainFile(path string) drainFile {
	if path == "" {
		return drainFile{}
	}
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return drainFile{}
	}
	if err != nil {
		return drainFile{there: true, warning: "drain_file counts as there: " + err.Error()}
	}
	raw, err := durable.Read(path) // no pipe holds it up
	if errors.Is(err, fs.ErrNotExist) {
		return drainFile{}
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	return drainFile{there: true, reason: vip.Line(line)}
}
