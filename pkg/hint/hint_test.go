package hint

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyvip/anyvip/pkg/latest"
)

func TestThePauseGrowsAndStartsAnewAfterWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New(Options{Log: slog.New(slog.DiscardHandler), Hint: func(Hint) {}, Report: func(Report) {}})
		s := source{name: Unit, sets: latest.Make[[]Watch]()}
		s.sets.Put([]Watch{{Check: "web", Unit: "web.service"}})
		ctx, cancel := context.WithCancel(t.Context())
		lasts := []time.Duration{0, 0, 0, 0, time.Hour, 0, 0}
		var pauses []time.Duration
		ended := time.Now()
		_ = e.again(ctx, s, hasUnit, func(context.Context, []Watch) error {
			pauses = append(pauses, time.Since(ended))
			time.Sleep(lasts[len(pauses)-1])
			if len(pauses) == len(lasts) {
				cancel()
			}
			ended = time.Now()
			return errors.New("it ended")
		})
		want := []time.Duration{0, 1, 2, 4, 8, 1, 2}
		for i := range want {
			want[i] *= time.Second
		}
		if !slices.Equal(pauses, want) {
			t.Errorf("pauses %v, want %v", pauses, want)
		}
	})
}
