// Package durable writes small files that survive kill -9, a full disk and a power
// cut: all of the new content, or all of the old.
//
// It owns the order of write, sync and rename, what is done about a disk that hangs, how
// strictly a file is read, and how it says a time and which kernel it speaks of: this boot
// and this network namespace. It must not know what else is in a file. Goroutines: one for each Write.
package durable

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Replace writes a new file beside path and renames it over path. It returns once
// that is on disk: it blocks as long as the disk does. The directory is made if it is
// missing, for us alone, and so is the file.
func Replace(path string, content []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	next := path + ".new"
	if err := writeSynced(next, content); err != nil {
		_ = os.Remove(next) // a full disk leaves a piece of it
		return err
	}
	if err := os.Rename(next, path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func writeSynced(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// maxFile is more bytes than any file of ours has.
const maxFile = 16 << 20

// Read returns what a file says, which may be missing (fs.ErrNotExist). It blocks as long
// as the disk does, but not for a pipe or a file without an end in place of ours.
func Read(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe must not hold us up
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, errors.New("is no regular file"))
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxFile {
		return nil, fmt.Errorf("is larger than %d MiB", maxFile>>20)
	}
	return raw, nil
}

// SetAside renames a file that cannot be understood, so that it can be looked at, and
// returns its new name. One that was set aside before is replaced.
func SetAside(path string) (string, error) {
	aside := path + ".corrupt"
	return aside, os.Rename(path, aside)
}

// BootID names this boot of the kernel.
func BootID() (string, error) {
	raw, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(raw)), nil
}

// SinceBoot is how long ago this host booted, its sleep included; it does not jump.
func SinceBoot() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0, err
	}
	return time.Duration(t.Nano()), nil
}
