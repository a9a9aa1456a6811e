package checks

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// maxContains is how much of a file is searched for File.Contains, in bytes.
const maxContains = 4 << 10

// File asks whether a file is there: one that a service touches while it is well,
// or a marker that an operator puts down for maintenance.
//
// Symbolic links are followed. Only regular files are looked at: to open a FIFO may
// block, and to open a device may do anything. A file system that hangs (a dead NFS
// server) cannot be left from within: such a probe outlasts its timeout, and the
// Runner reports it as stuck.
type File struct {
	Path     string        `yaml:"path" doc:"absolute path of a regular file"`
	Exists   bool          `yaml:"exists" default:"true" doc:"true: the file must be there; false: it must not be, like a marker for maintenance"`
	MaxAge   time.Duration `yaml:"max_age" doc:"it was modified at most this long ago, by this host's clock; a time in the future counts as now; default: any time"`
	Contains string        `yaml:"contains" doc:"must appear in the first 4 KiB; default: the file is not read"`
}

// Describe returns file and the path.
func (f *File) Describe() (name, target string) { return "file", f.Path }

// Validate finds what is wrong.
func (f *File) Validate() (ps []vip.Problem) {
	switch {
	case f.Path == "":
		ps = append(ps, vip.Problem{Path: "path", Message: "is missing", Allowed: "an absolute path"})
	case !filepath.IsAbs(f.Path):
		ps = append(ps, vip.Problem{Path: "path", Value: f.Path, Message: "is not an absolute path"})
	}
	ps = append(ps, validateText("path", f.Path)...)
	ps = append(ps, within("max_age", f.MaxAge, 0, 10*365*24*time.Hour, "0s to 87600h")...)
	ps = append(ps, validateWanted("contains", f.Contains)...)
	if !f.Exists {
		if f.MaxAge != 0 {
			ps = append(ps, vip.Problem{Path: "max_age", Value: f.MaxAge.String(), Message: "has no meaning for a file that must not be there"})
		}
		if f.Contains != "" {
			ps = append(ps, vip.Problem{Path: "contains", Value: f.Contains, Message: "has no meaning for a file that must not be there"})
		}
	}
	return ps
}

// Checker returns the probe; its error is always nil.
func (f *File) Checker() (Checker, error) { return fileChecker{f}, nil }

type fileChecker struct{ *File }

// Probe looks at the file. Where the file system hangs it blocks, whatever ctx says.
func (f fileChecker) Probe(context.Context) vip.Result {
	info, err := os.Stat(f.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return f.missing()
	case err != nil:
		return couldNotAsk(err)
	case !f.Exists:
		return vip.Result{Outcome: vip.Fail, Class: vip.ClassStatus, Detail: "exists"}
	case !info.Mode().IsRegular():
		return couldNotAsk(irregular(f.Path, info))
	}
	if age := max(0, time.Since(info.ModTime())); f.MaxAge != 0 && age > f.MaxAge {
		return vip.Result{Outcome: vip.Fail, Class: vip.ClassStatus,
			Detail: fmt.Sprintf("was modified %s ago, longer than %s", age.Truncate(time.Millisecond), f.MaxAge)}
	}
	if f.Contains == "" {
		return vip.Result{Outcome: vip.Pass, Detail: "exists"}
	}
	return f.read()
}

// missing is the result for a file that is not there.
func (f fileChecker) missing() vip.Result {
	if f.Exists {
		return vip.Result{Outcome: vip.Fail, Class: vip.ClassStatus, Detail: "does not exist"}
	}
	return vip.Result{Outcome: vip.Pass, Detail: "does not exist"}
}

// read looks for Contains. A file that has gone since the look at it is missing.
func (f fileChecker) read() vip.Result {
	file, err := openRegular(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return f.missing()
	}
	if err != nil {
		return couldNotAsk(err)
	}
	defer file.Close()
	found, err := find(file, f.Contains, maxContains)
	if err != nil {
		return couldNotAsk(err)
	}
	if !found {
		return vip.Result{Outcome: vip.Fail, Class: vip.ClassBody, Detail: fmt.Sprintf("no %q in its first %d KiB", f.Contains, maxContains>>10)}
	}
	return vip.Result{Outcome: vip.Pass, Detail: "exists"}
}

// couldNotAsk is the result of a probe that failed on our side.
func couldNotAsk(err error) vip.Result {
	return vip.Result{Outcome: vip.Error, Class: vip.ClassLocal, Detail: err.Error()}
}

// openRegular opens a regular file for reading, and nothing else: it looks before
// it opens, and does not wait for a FIFO that took the file's place in between.
func openRegular(name string) (*os.File, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, irregular(name, info)
	}
	file, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	if info, err = file.Stat(); err == nil && !info.Mode().IsRegular() {
		err = irregular(name, info)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

func irregular(name string, info fs.FileInfo) error {
	kind := "a device"
	switch info.Mode().Type() { //nolint:exhaustive // any other is a device
	case fs.ModeDir:
		kind = "a directory"
	case fs.ModeNamedPipe:
		kind = "a FIFO"
	case fs.ModeSocket:
		kind = "a socket"
	}
	return fmt.Errorf("%s is %s, not a regular file", name, kind)
}
