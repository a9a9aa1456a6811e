package feed

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"iter"
)

// Decode reads what Print writes, one event after the other, until the end of the input. An error, of the input or of
// a line, ends the sequence. what names the events for the error: "load", "watch".
func Decode[E any](r io.Reader, what string) iter.Seq2[E, error] {
	return func(yield func(E, error) bool) {
		lines := bufio.NewReader(r)
		for {
			line, err := lines.ReadBytes('\n')
			if len(line) > 1 {
				var e E
				if bad := json.Unmarshal(line, &e); bad != nil {
					yield(*new(E), fmt.Errorf("decode %s event %.80q: %w", what, line, bad))
					return
				}
				if !yield(e, nil) {
					return
				}
			}
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(*new(E), fmt.Errorf("read %s events: %w", what, err))
				return
			}
		}
	}
}

// Print returns a function that writes one line of JSON per event; one goroutine at a time may call it. When a write
// has failed it calls failed, once, and writes nothing more. what names the events for the error, as in Decode.
func Print[E any](w io.Writer, what string, failed func(error)) func(E) {
	encoder := json.NewEncoder(w)
	broken := false
	return func(e E) {
		if broken {
			return
		}
		if err := encoder.Encode(e); err != nil {
			broken = true
			failed(fmt.Errorf("print %s event: %w", what, err))
		}
	}
}
