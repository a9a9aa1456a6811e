package config

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/anyvip/anyvip/pkg/api"
)

func flags(t *testing.T, args ...string) *pflag.FlagSet {
	t.Helper()
	fs := pflag.NewFlagSet("anyvip", pflag.ContinueOnError)
	fs.StringP(FlagFile, "c", DefaultFile, "")
	fs.String(FlagSocket, DefaultSocket, "")
	fs.String(FlagStateDir, DefaultStateDir, "")
	fs.String(FlagLogLevel, DefaultLogLevel, "")
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return fs
}

func TestFlagsWinOverEnvironmentOverDefaults(t *testing.T) {
	t.Setenv("ANYVIP_CONFIG", "/env/a.yaml")
	t.Setenv("ANYVIP_SOCKET", "/env/socket")
	t.Setenv("ANYVIP_STATE_DIR", "") // as good as not set
	s, err := ReadSettings(flags(t, "-c", "/flag/a.yaml", "--log-level", "Debug"))
	if err != nil {
		t.Fatal(err)
	}
	want := Settings{
		File:     Setting{"/flag/a.yaml", "--config"},
		Socket:   Setting{"/env/socket", "ANYVIP_SOCKET"},
		StateDir: Setting{"/var/lib/anyvip", "default"},
		LogLevel: Setting{"Debug", "--log-level"},
		Level:    slog.LevelDebug,
	}
	if s != want {
		t.Errorf("got  %+v\nwant %+v", s, want)
	}
}

func TestAFlagThatRepeatsTheDefaultStillWins(t *testing.T) {
	t.Setenv("ANYVIP_SOCKET", "/env/socket")
	s, err := ReadSettings(flags(t, "--socket", DefaultSocket))
	if err != nil || s.Socket != (Setting{DefaultSocket, "--socket"}) {
		t.Errorf("got %+v, %v", s.Socket, err)
	}
}

func TestTheFileGivesTheSocketWhereNobodyElseDoes(t *testing.T) {
	c := &Config{API: api.Config{Socket: "/file/socket"}}
	for _, tt := range []struct {
		name, env string
		args      []string
		want      Setting
	}{
		{"file", "", nil, Setting{"/file/socket", "api.socket in /etc/anyvip/anyvip.yaml"}},
		{"environment", "/env/socket", nil, Setting{"/env/socket", "ANYVIP_SOCKET"}},
		{"flag", "/env/socket", []string{"--socket=/flag/socket"}, Setting{"/flag/socket", "--socket"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("ANYVIP_SOCKET", tt.env)
			s, err := ReadSettings(flags(t, tt.args...))
			if err != nil {
				t.Fatal(err)
			}
			if got := s.SocketOf(c); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestBadSettingsNameTheirSource(t *testing.T) {
	for _, tt := range []struct {
		name, env string
		args      []string
		want      string
	}{
		{"level from a flag", "", []string{"--log-level", "loud"}, "--log-level: loud is no log level (allowed: debug, info, warn, error)"},
		{"level from the environment", "info+1", nil, "ANYVIP_LOG_LEVEL: info+1 is no log level"},
		{"an empty flag", "", []string{"--socket="}, "--socket: is empty"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("ANYVIP_LOG_LEVEL", tt.env)
			_, err := ReadSettings(flags(t, tt.args...))
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestACommandNeedNotHaveEveryFlag(t *testing.T) {
	s, err := ReadSettings(pflag.NewFlagSet("status", pflag.ContinueOnError))
	if err != nil || s.File.Value != DefaultFile {
		t.Errorf("got %+v, %v", s, err)
	}
}
