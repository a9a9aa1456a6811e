package integration

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/anyvip/anyvip/lab"
)

// TestSecondAgentWithASocketOfItsOwn tries what TestSecondAgentRefuses does not: a
// second agent that does not meet the first one's socket, nor its HTTP port.
func TestSecondAgentWithASocketOfItsOwn(t *testing.T) {
	t.Parallel()
	r := up(t, "faults.clab.yml", options{})
	at := r.watchTors()
	first := r.statusShows("s1", "two sessions", agentStatus.established)
	r.sh("s1", "sed 's/^bgp:/http: {listen: 127.0.0.1:9474}\\nbgp:/' /etc/anyvip/anyvip.yaml > /run/second.yaml")
	tests := []struct{ name, config, says string }{
		{"another socket", "/etc/anyvip/anyvip.yaml", "http.listen 127.0.0.1:9473: another process has this port"},
		{"another socket and port", "/run/second.yaml", "/var/lib/anyvip"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			begin := time.Now()
			out, err := r.Command(t.Context(), "s1", "anyvip", "run", "-c", test.config, "--socket", "/run/second.sock").CombinedOutput()
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			t.Logf("it ends after %s and says: %s", ms(time.Since(begin)), lines[len(lines)-1])
			var exit *lab.ExitError
			if !errors.As(err, &exit) || exit.Code != 1 || !strings.Contains(lines[len(lines)-1], test.says) {
				t.Errorf("the second agent: %v\n%s", err, out)
			}
			for _, name := range tors {
				at[name].untouched(begin, "a second agent was started")
			}
		})
	}
	s := r.mustStatus("s1")
	if !s.Started.Equal(first.Started) {
		t.Error("the first agent ended")
	}
	for _, p := range vips {
		if !r.has("s1", p.String()) {
			t.Errorf("%s is gone from s1", p)
		}
	}
}
