package main

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// screen is where output goes, and what it can show.
type screen struct {
	io.Writer
	terminal bool
	colour   bool
	width    int // lines are broken to fit it; 0: never
}

// newScreen looks at what w is. Colour needs a terminal, and no NO_COLOR
// (https://no-color.org).
func newScreen(w io.Writer) screen {
	s := screen{Writer: w}
	f, ok := w.(*os.File)
	if !ok {
		return s
	}
	if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err != nil {
		return s
	}
	s.terminal = true
	s.colour = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return s.sized()
}

// sized is s with the width of now.
func (s screen) sized() screen {
	s.width, _ = s.size()
	return s
}

// size is that of the terminal; 0, 0 where there is none.
func (s screen) size() (width, height int) {
	f, ok := s.Writer.(*os.File)
	if !ok || !s.terminal {
		return 0, 0
	}
	w, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0
	}
	return int(w.Col), int(w.Row)
}
