package node

import (
	"io"
	"os"
	"strings"
)

// tailLines is how many last lines of the log an error message shows.
const tailLines = 8

// logSize is a position in the node's log, which is the process's stderr.
func logSize() int64 {
	st, err := os.Stderr.Stat()
	if err != nil {
		return 0
	}
	return st.Size()
}

// tail returns the last lines that the log got after mark, each on a line of its
// own and indented, or nothing.
func tail(mark int64) string {
	const most = 4 << 10
	end := logSize()
	if end-mark > most {
		mark = end - most
	}
	// A log opened for appending is written by many; ReadAt does not care.
	data, err := io.ReadAll(io.NewSectionReader(os.Stderr, mark, end-mark))
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	if len(lines) > tailLines {
		lines = lines[len(lines)-tailLines:]
	}
	text := strings.Join(lines, "\n    ")
	if text == "" {
		return ""
	}
	return "\n    " + text
}
