package demo

import (
	"fmt"
	"io"
	"time"
)

// teller writes the story: a line per thing seen, with the time since the
// start. On a terminal chapters are bold and what was seen has a mark.
type teller struct {
	w      io.Writer
	colour bool
	start  time.Time
}

func (t *teller) chapter(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if t.colour {
		text = "\x1b[1m" + text + "\x1b[0m"
	}
	fmt.Fprintf(t.w, "\n%s\n", text)
}

func (t *teller) seen(who, format string, args ...any) {
	mark := " "
	if t.colour {
		mark = "\x1b[32m✔\x1b[0m"
	}
	fmt.Fprintf(t.w, "%5.1f s %s %-7s %s\n", time.Since(t.start).Seconds(), mark, who, fmt.Sprintf(format, args...))
}

// ms writes a duration as an operator reads it.
func ms(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1e3)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", d.Seconds()*1e3)
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}
