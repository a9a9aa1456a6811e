package feed

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

type event struct {
	Number int    `json:"number"`
	Text   string `json:"text,omitempty"`
}

func TestDecodeReadsWhatPrintWrites(t *testing.T) {
	want := []event{{1, "first"}, {2, "two\nlines"}, {Number: 3}}
	var text strings.Builder
	print := Print[event](&text, "test", func(err error) { t.Error(err) })
	for _, e := range want {
		print(e)
	}
	if n := strings.Count(text.String(), "\n"); n != len(want) {
		t.Errorf("%d events are %d lines", len(want), n)
	}
	got, err := collect(strings.NewReader(text.String()))
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("decoded with error %v (-want +got):\n%s", err, diff)
	}
}

func TestDecodeEndsWithItsInputOrTheFirstError(t *testing.T) {
	lost := errors.New("connection lost")
	for _, test := range []struct {
		name  string
		input io.Reader
		want  []event
		err   string // empty: none
	}{
		{"no input", strings.NewReader(""), nil, ""},
		{"empty lines are no events", strings.NewReader("{\"number\":1}\n\n{\"number\":2}\n"), []event{{Number: 1}, {Number: 2}}, ""},
		{"the last line may lack its end", strings.NewReader("{\"number\":1}\n{\"number\":2}"), []event{{Number: 1}, {Number: 2}}, ""},
		{"a line that is no event", strings.NewReader("{\"number\":1}\nnonsense\n{\"number\":2}\n"), []event{{Number: 1}}, `decode test event "nonsense\n": `},
		{"an input that breaks", io.MultiReader(strings.NewReader("{\"number\":1}\n"), iotest.ErrReader(lost)), []event{{Number: 1}}, "read test events: connection lost"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := collect(test.input)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("decoded (-want +got):\n%s", diff)
			}
			if (err == nil) != (test.err == "") || err != nil && !strings.HasPrefix(err.Error(), test.err) {
				t.Errorf("error %v, want %q", err, test.err)
			}
		})
	}
}

func TestDecodeEndsWhereItsReaderStops(t *testing.T) {
	for e, err := range Decode[event](strings.NewReader("{\"number\":1}\nnonsense\n"), "test") {
		if e.Number != 1 || err != nil {
			t.Fatalf("event %+v, error %v", e, err)
		}
		break
	}
}

func TestPrintSaysAWriteErrorOnce(t *testing.T) {
	w := &full{}
	var said []string
	print := Print[event](w, "test", func(err error) { said = append(said, err.Error()) })
	print(event{Number: 1})
	print(event{Number: 2})
	if diff := cmp.Diff([]string{"print test event: disk full"}, said); diff != "" || w.writes != 1 {
		t.Errorf("%d writes, said (-want +got):\n%s", w.writes, diff)
	}
}

// collect decodes all of r. The error is the one that ended it; nothing may follow.
func collect(r io.Reader) (events []event, ended error) {
	for e, err := range Decode[event](r, "test") {
		switch {
		case ended != nil:
			return events, errors.New("more after the error " + ended.Error())
		case err != nil:
			ended = err
		default:
			events = append(events, e)
		}
	}
	return events, ended
}

// full is a disk without space.
type full struct{ writes int }

func (f *full) Write([]byte) (int, error) {
	f.writes++
	return 0, errors.New("disk full")
}
