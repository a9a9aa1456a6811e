package lease

import (
	"context"
	"log/slog"
	"net/netip"
	"time"
)

const (
	chatSpan  = 10 * time.Second
	chatLines = 3 // of one kind in chatSpan; the others are counted
	chatGroup = 5 // more addresses at a time share a line
)

// news is something to log: the same of several addresses of a link is one line if
// they are many.
type news struct {
	level   slog.Level
	message string
	addr    netip.Addr
	link    string
	reason  string
}

// chat is a log that neither a takeover of a thousand addresses nor a fight with
// somebody can flood. Run's goroutine owns it.
type chat struct {
	log   *slog.Logger
	new   []news
	spans map[topic]*span
	swept time.Time
}

// topic is what counts as the same line again.
type topic struct{ message, subject string }

// span is what was logged of a topic, and what was not.
type span struct {
	begin       time.Time
	lines, more int
}

func newChat(log *slog.Logger) chat { return chat{log: log, spans: make(map[topic]*span)} }

// say takes something to be logged by flush.
func (c *chat) say(n news) { c.new = append(c.new, n) }

// flush logs what was said since the last time.
func (c *chat) flush(now time.Time) {
	if len(c.new) == 0 {
		return
	}
	count := make(map[news]int)
	kind := func(n news) news { n.addr = netip.Addr{}; return n }
	for _, n := range c.new {
		count[kind(n)]++
	}
	for _, n := range c.new {
		switch total := count[kind(n)]; {
		case total == 0: // logged with the others
		case total > chatGroup:
			c.line(now, n, n.link, "count", total, "first", n.addr)
			count[kind(n)] = 0
		case n.addr.IsValid():
			c.line(now, n, n.addr.String(), "vip", n.addr)
		default:
			c.line(now, n, "")
		}
	}
	c.new = c.new[:0]
	c.sweep(now)
}

// line logs one line, or counts it.
func (c *chat) line(now time.Time, n news, subject string, args ...any) {
	k := topic{n.message, subject}
	s := c.spans[k]
	if s == nil || now.Sub(s.begin) >= chatSpan {
		more := 0
		if s != nil {
			more = s.more
		}
		s = &span{begin: now, more: more}
		c.spans[k] = s
	}
	if s.lines >= chatLines {
		s.more++
		return
	}
	s.lines++
	if n.link != "" {
		args = append(args, "link", n.link)
	}
	if n.reason != "" {
		args = append(args, "reason", n.reason)
	}
	if s.more > 0 {
		args = append(args, "not_logged", s.more)
		s.more = 0
	}
	c.log.Log(context.Background(), n.level, n.message, args...)
}

// sweep drops what is over, so that addresses that are gone cost nothing.
func (c *chat) sweep(now time.Time) {
	if now.Sub(c.swept) < chatSpan {
		return
	}
	c.swept = now
	for k, s := range c.spans {
		if now.Sub(s.begin) >= chatSpan && s.more == 0 {
			delete(c.spans, k)
		}
	}
}
