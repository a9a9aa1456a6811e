package durable

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAWriteThatHangsGoesOnByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release, disk := make(chan struct{}), []string{}
		w := Writer{Path: "file", Log: slog.New(slog.DiscardHandler), Replace: func(_ string, content []byte) error {
			<-release
			disk = append(disk, string(content))
			return nil
		}}
		for i, want := range []time.Duration{patience, 0} {
			begin := time.Now()
			err := w.Write([]byte{byte('a' + i)})
			if took := time.Since(begin); took != want || err == nil || !strings.Contains(err.Error(), "file: the disk has not answered") {
				t.Errorf("write %d: %v after %s, want %s", i, err, took, want)
			}
		}
		close(release)
		synctest.Wait()
		if err := w.Write([]byte("c")); err != nil || strings.Join(disk, "") != "ac" {
			t.Errorf("%v, and the disk has %q", err, disk)
		}
	})
}
