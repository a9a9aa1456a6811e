package kernel

import (
	"context"
	"log/slog"
	"time"
)

const (
	quietSpan  = 10 * time.Second
	quietLines = 3 // of one kind in quietSpan; then one for each
)

// quiet is a log that a fight with somebody cannot flood: who puts a VIP back a
// hundred times a second says so three times, and then how often. Run's
// goroutine owns it.
type quiet struct {
	log   *slog.Logger
	kinds map[kind]*span
	swept time.Time
}

// kind is what counts as the same line again.
type kind struct{ message, subject string }

// span is what was logged of a kind, and what was not.
type span struct {
	begin time.Time
	lines int
	more  int // not logged since the last line
}

func newQuiet(log *slog.Logger) *quiet { return &quiet{log: log, kinds: make(map[kind]*span)} }

// say logs a line about a subject, or counts it.
func (q *quiet) say(level slog.Level, message, subject string, args ...any) {
	more, ok := q.admit(kind{message, subject}, time.Now())
	if !ok {
		return
	}
	if more > 0 {
		args = append(args, "not_logged", more)
	}
	q.log.Log(context.Background(), level, message, args...)
}

// admit reports whether a line may be logged now, and how many were not before it.
func (q *quiet) admit(k kind, now time.Time) (more int, ok bool) {
	s := q.kinds[k]
	switch {
	case s == nil:
		q.forget(now)
		s = &span{begin: now}
		q.kinds[k] = s
	case now.Sub(s.begin) >= quietSpan && s.more == 0:
		*s = span{begin: now} // it was over
	case now.Sub(s.begin) >= 2*quietSpan:
		*s = span{begin: now, more: s.more} // over as well, and nobody was told how often
	case now.Sub(s.begin) >= quietSpan:
		*s = span{begin: now, lines: quietLines - 1, more: s.more} // it goes on
	case s.lines >= quietLines:
		s.more++
		return 0, false
	}
	more, s.lines, s.more = s.more, s.lines+1, 0
	return more, true
}

// forget drops what is over, so that subjects that are gone cost nothing.
func (q *quiet) forget(now time.Time) {
	if now.Sub(q.swept) < quietSpan {
		return
	}
	q.swept = now
	for k, s := range q.kinds {
		if now.Sub(s.begin) >= quietSpan && s.more == 0 {
			delete(q.kinds, k)
		}
	}
}
