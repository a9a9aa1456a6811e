package config

import (
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// Settings are what a process must know before it reads the document. A flag
// wins over the environment, that over the file (for the socket alone), and
// that over the default.
type Settings struct {
	File     Setting // --config, ANYVIP_CONFIG
	Socket   Setting // --socket, ANYVIP_SOCKET, api.socket in the file
	StateDir Setting // --state-dir, ANYVIP_STATE_DIR
	LogLevel Setting // --log-level, ANYVIP_LOG_LEVEL
	Level    slog.Level
}

// Setting is a value and who said so, for error messages.
type Setting struct {
	Value string
	From  string // "--socket", "ANYVIP_SOCKET", "api.socket in FILE" or "default"
}

// Flags that ReadSettings looks at. A command need not have all of them.
const (
	FlagFile     = "config"
	FlagSocket   = "socket"
	FlagStateDir = "state-dir"
	FlagLogLevel = "log-level"
)

// Defaults of the settings.
const (
	DefaultFile     = "/etc/anyvip/anyvip.yaml"
	DefaultSocket   = "/run/anyvip/anyvip.sock"
	DefaultStateDir = "/var/lib/anyvip"
	DefaultLogLevel = "info"
)

const fromDefault = "default"

// ReadSettings reads the flags that were set and the environment. An empty
// environment variable counts as not set, an empty flag is an error. Every
// error names who said what.
func ReadSettings(flags *pflag.FlagSet) (Settings, error) {
	v := viper.New()
	var s Settings
	for _, w := range []struct {
		to                *Setting
		flag, env, preset string
	}{
		{&s.File, FlagFile, "ANYVIP_CONFIG", DefaultFile},
		{&s.Socket, FlagSocket, "ANYVIP_SOCKET", DefaultSocket},
		{&s.StateDir, FlagStateDir, "ANYVIP_STATE_DIR", DefaultStateDir},
		{&s.LogLevel, FlagLogLevel, "ANYVIP_LOG_LEVEL", DefaultLogLevel},
	} {
		v.SetDefault(w.flag, w.preset)
		if err := v.BindEnv(w.flag, w.env); err != nil {
			return Settings{}, fmt.Errorf("bind %s: %w", w.env, err)
		}
		*w.to = Setting{From: fromDefault}
		if os.Getenv(w.env) != "" {
			w.to.From = w.env
		}
		if f := flags.Lookup(w.flag); f != nil && f.Changed {
			if err := v.BindPFlag(w.flag, f); err != nil {
				return Settings{}, fmt.Errorf("bind --%s: %w", w.flag, err)
			}
			w.to.From = "--" + w.flag
		}
		w.to.Value = v.GetString(w.flag)
		if w.to.Value == "" {
			return Settings{}, fmt.Errorf("%s: is empty", w.to.From)
		}
	}
	return s.withLevel()
}

// SocketOf is where the API of a daemon with configuration c is found.
func (s Settings) SocketOf(c *Config) Setting {
	if s.Socket.From == fromDefault && c.API.Socket != s.Socket.Value {
		return Setting{Value: c.API.Socket, From: "api.socket in " + s.File.Value}
	}
	return s.Socket
}

// withLevel reads the log level. slog's own reader would take info+3 as well.
func (s Settings) withLevel() (Settings, error) {
	switch strings.ToLower(s.LogLevel.Value) {
	case "debug":
		s.Level = slog.LevelDebug
	case "info":
		s.Level = slog.LevelInfo
	case "warn":
		s.Level = slog.LevelWarn
	case "error":
		s.Level = slog.LevelError
	default:
		return Settings{}, fmt.Errorf("%s: %s is no log level (allowed: debug, info, warn, error)", s.LogLevel.From, shown(s.LogLevel.Value))
	}
	return s, nil
}
