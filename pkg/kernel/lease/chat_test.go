package lease

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestChatIsBriefAboutManyAndAboutAFight(t *testing.T) {
	var out strings.Builder
	c := newChat(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
			return slog.Attr{}
		}
		return a
	}})))
	now := time.Now()
	takeover := func(n int) {
		for _, ip := range many(n) {
			c.say(news{slog.LevelInfo, "address added", ip, "eth1", ""})
		}
		c.flush(now)
	}
	takeover(2)
	takeover(1000)
	for range 7 { // in seven seconds, and then no more for a while
		c.say(news{slog.LevelWarn, "address was taken away", v4, "eth1", ""})
		c.flush(now)
		now = now.Add(time.Second)
	}
	now = now.Add(chatSpan)
	c.say(news{slog.LevelWarn, "address was taken away", v4, "eth1", "again"})
	c.flush(now)
	want := `msg="address added" vip=203.0.0.0 link=eth1
msg="address added" vip=203.0.0.1 link=eth1
msg="address added" count=1000 first=203.0.0.0 link=eth1
msg="address was taken away" vip=192.0.2.10 link=eth1
msg="address was taken away" vip=192.0.2.10 link=eth1
msg="address was taken away" vip=192.0.2.10 link=eth1
msg="address was taken away" vip=192.0.2.10 link=eth1 reason=again not_logged=4
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	now = now.Add(chatSpan)
	c.say(news{slog.LevelInfo, "address added", v6, "eth1", ""})
	c.flush(now)
	if len(c.spans) != 1 {
		t.Errorf("%d topics are remembered, of which one is not over", len(c.spans))
	}
}
