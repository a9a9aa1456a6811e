package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/anyvip/anyvip/pkg/api"
	anyvipv1 "github.com/anyvip/anyvip/pkg/api/anyvip/v1"
	"github.com/anyvip/anyvip/pkg/config"
)

// answerLimit is how long an agent may take to answer.
const answerLimit = 5 * time.Second

// The forms of output.
const (
	formTable = "table"
	formWide  = "wide"
	formJSON  = "json"
)

func newStatusCommand() *cobra.Command {
	var form string
	var watch bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what the agent announces, and why",
		Long: `Show what the agent announces, and why: its services, checks and sessions.
The exit code is 0 whenever the agent answered, however its services are.

With --watch, a terminal shows the current state until Ctrl-C; otherwise each
change is printed, as a block or as a line of JSON. Results of probes that
change no verdict are no change.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if form != formTable && form != formWide && form != formJSON {
				return usageError{fmt.Errorf("--output %q is none of table, wide, json", form)}
			}
			client, err := dialAgent(cmd)
			if err != nil {
				return err
			}
			defer func() { _ = client.Close() }() // all was said
			out := newScreen(cmd.OutOrStdout())
			if watch {
				return watchStatus(cmd.Context(), client, out, form)
			}
			return showStatus(cmd.Context(), client, out, form)
		},
	}
	cmd.Flags().StringVarP(&form, "output", "o", formTable, "table, wide or json")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "go on showing changes")
	return cmd
}

// dialAgent connects to the agent that the flags, the environment and the file name.
func dialAgent(cmd *cobra.Command) (*api.Client, error) {
	s, err := config.ReadSettings(cmd.Flags())
	if err != nil {
		return nil, usageError{err}
	}
	return api.Dial(socketOf(s))
}

// socketOf is where the agent listens. A file that cannot be read or is wrong
// says nothing about that: the agent may run all the same.
func socketOf(s config.Settings) string {
	data, err := os.ReadFile(s.File.Value)
	if err != nil {
		return s.Socket.Value
	}
	c, _, err := config.Parse(s.File.Value, data, "localhost")
	if err != nil {
		return s.Socket.Value
	}
	return s.SocketOf(c).Value
}

// showStatus asks once.
func showStatus(ctx context.Context, client *api.Client, out screen, form string) error {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	s, err := client.Status(ctx)
	if err != nil {
		return err
	}
	text, err := render(s, form, out, time.Now())
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, text)
	return err
}

// render is a Status in the wanted form, with a newline at its end.
func render(s *anyvipv1.Status, form string, out screen, now time.Time) (string, error) {
	if form == formJSON {
		return renderJSON(s, "  ")
	}
	return renderTables(s, form == formWide, out, now), nil
}

// renderJSON writes every field under its name in the protocol. With an empty
// indent it is one line.
func renderJSON(s *anyvipv1.Status, indent string) (string, error) {
	raw, err := protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("write status as JSON: %w", err)
	}
	// protojson varies its spaces on purpose, so that nobody relies on them.
	var b bytes.Buffer
	if indent == "" {
		err = json.Compact(&b, raw)
	} else {
		err = json.Indent(&b, raw, "", indent)
	}
	b.WriteByte('\n')
	return b.String(), err
}
