package bench

import (
	"testing"
	"time"

	"github.com/anyvip/anyvip/lab/load"
)

func TestAConnectionThatWasOpenWhenTheToRChangedWasMoved(t *testing.T) {
	at := func(ms int) time.Time { return time.UnixMilli(int64(1000 + ms)) }
	changes := []reading{{Time: at(0)}, {Time: at(100)}}
	tests := []struct {
		name           string
		started, ended int
		failure        load.Failure
		want           bool
	}{
		{"reset across a change", 98, 102, load.Reset, true},
		{"reset as the change was noticed", 98, 100, load.Reset, true},
		{"reset long before", 50, 60, load.Reset, false},
		{"reset of one that began after it", 101, 102, load.Reset, false},
		{"refused across a change", 98, 102, load.Refused, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := load.Request{Started: at(test.started), Ended: at(test.ended), Failure: test.failure}
			if got := moved(&r, changes); got != test.want {
				t.Errorf("moved: %t", got)
			}
		})
	}
}
