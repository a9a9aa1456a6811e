package lab_test

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/anyvip/anyvip/lab/labtest"
)

// TestRoutersReadTheExamples has each router read the files that operators copy.
func TestRoutersReadTheExamples(t *testing.T) {
	for _, router := range []struct {
		needs, pattern string
		read           []string
	}{
		{"frr", "*frr.conf", []string{"vtysh", "-C", "-f"}},
		{"bird", "*bird.conf", []string{"/usr/sbin/bird", "-p", "-c"}},
	} {
		t.Run(router.needs, func(t *testing.T) {
			labtest.Need(t, router.needs)
			files, err := filepath.Glob("../examples/*/" + router.pattern)
			if err != nil || len(files) == 0 {
				t.Fatalf("no %s: %v", router.pattern, err)
			}
			for _, file := range files {
				if out, err := exec.Command(router.read[0], append(router.read[1:], file)...).CombinedOutput(); err != nil {
					t.Errorf("%s: %v\n%s", file, err, out)
				}
			}
		})
	}
}
