package checks

import (
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// Config is one check. Rise, Fall, Scope, ErrorHold and OnError are carried
// here because they are written here; package health and policy give them
// their meaning.
type Config struct {
	Name         string        `yaml:"name" doc:"unique name, used by services, status, logs and metrics"`
	Kind         Kind          `yaml:",kind" doc:"exactly one of the kinds below"`
	Interval     time.Duration `yaml:"interval" default:"1s" doc:"between the starts of two probes"`
	FastInterval time.Duration `yaml:"fast_interval" default:"200ms" doc:"instead of interval while a change is pending; never more than interval"`
	Timeout      time.Duration `yaml:"timeout" default:"500ms" doc:"for one whole probe"`
	Rise         int           `yaml:"rise" default:"2" doc:"good results in a row before it counts as better"`
	Fall         int           `yaml:"fall" default:"2" doc:"bad results in a row before it counts as worse"`
	Scope        vip.Scope     `yaml:"scope" default:"local" doc:"local: a failure withdraws; dependency: it degrades at most; advisory: it is only shown"`
	ErrorHold    time.Duration `yaml:"error_hold" default:"60s" doc:"how long a check that cannot ask keeps its last verdict"`
	OnError      vip.OnError   `yaml:"on_error" default:"degrade" doc:"what it means after error_hold: hold, degrade or fail"`
}
