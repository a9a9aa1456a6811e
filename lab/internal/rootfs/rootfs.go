// Package rootfs gives a node a file system of its own that is the host's in
// everything that is not written to.
//
// The new root is a tmpfs. /etc and /var (and any other top-level directory in
// which a mount point is missing) are overlays: the host's content below, a tmpfs
// above, so that nothing a node writes there reaches the host. Where a user
// namespace may not overlay them they are put together from binds, see farm. /run
// and the directories a daemon owns are empty. /proc and /sys are the node's own.
// All the rest, /usr, /home, /tmp and so on, is the host's and shared with it.
//
// It works the same for root and inside a user namespace with a single user id,
// where files of other users cannot be changed, only covered. Enter is called
// once, by a process that is alone in a fresh mount namespace and pid namespace.
package rootfs

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/lab/internal/wire"
)

// Plan is what a node's root shows besides the host.
type Plan struct {
	FreshDirs []string
	Files     []wire.File
	Binds     []wire.Bind
	OwnUserNS bool
}

// stage is where the new root is put together. It has to be a directory that
// exists on every host and from which nobody binds anything.
const stage = "/sys"

// upper holds the overlays' private layers, inside the new root.
const upper = "/.lab"

// Enter builds the new root and makes it the caller's.
func Enter(plan Plan) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	b, err := newBuilder(plan)
	if err != nil {
		return err
	}
	steps := []func() error{b.base, b.entries, b.overlays, b.system, b.fresh, b.generated, b.binds, b.pivot}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// place is a mount point that has to exist.
type place struct {
	path string // resolved: no symlink in it
	dir  bool
}

type builder struct {
	plan   Plan
	places map[string][]place // by top-level directory, those to be made in its overlay
}

func newBuilder(plan Plan) (*builder, error) {
	b := &builder{plan: plan, places: map[string][]place{"etc": nil, "var": nil}}
	for i, dir := range b.plan.FreshDirs {
		b.plan.FreshDirs[i] = resolve(dir)
		b.need(b.plan.FreshDirs[i], true)
	}
	for i, file := range b.plan.Files {
		b.plan.Files[i].Path = resolve(file.Path)
		b.need(b.plan.Files[i].Path, false)
	}
	for i, bind := range b.plan.Binds {
		target := resolve(bind.Target)
		if slices.Contains([]string{"", "proc", "sys", "dev"}, top(target)) {
			return nil, fmt.Errorf("bind %s: a node has its own %s, nothing can be bound there", bind.Target, "/"+top(target))
		}
		b.plan.Binds[i].Target = target
		b.need(target, bind.Dir)
	}
	return b, nil
}

// need notes a mount point if it has to be made in an overlay.
func (b *builder) need(path string, dir bool) {
	t := top(path)
	inFresh := slices.ContainsFunc(b.plan.FreshDirs, func(fresh string) bool { return below(path, fresh) })
	if t == "run" || inFresh {
		return // made in a tmpfs, later
	}
	if _, overlaid := b.places[t]; !overlaid {
		if _, err := os.Lstat(path); err == nil {
			return
		}
		if _, err := os.Lstat("/" + t); err != nil {
			return // lives in the new root's tmpfs
		}
	}
	b.places[t] = append(b.places[t], place{path: path, dir: dir})
}

// base mounts the tmpfs that becomes the root.
func (b *builder) base() error {
	if err := unix.Mount("tmpfs", stage, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount the node's root: %w", err)
	}
	return nil
}

// entries shows the host's top-level directories, except those that get a
// content of their own.
func (b *builder) entries() error {
	names, err := os.ReadDir("/")
	if err != nil {
		return err
	}
	for _, e := range names {
		name := e.Name()
		own := slices.Contains([]string{"proc", "sys", "run"}, name)
		_, overlaid := b.places[name]
		if own || overlaid {
			continue
		}
		if err := show("/"+name, stage+"/"+name, e.Type()); err != nil {
			return err
		}
	}
	return nil
}

func show(from, to string, kind fs.FileMode) error {
	switch {
	case kind&fs.ModeSymlink != 0:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	case kind.IsDir():
		if err := os.Mkdir(to, 0o755); err != nil {
			return err
		}
	case kind.IsRegular():
		if err := touch(to); err != nil {
			return err
		}
	default:
		return nil
	}
	return bind(from, to)
}

// system mounts what belongs to the node's own namespaces.
func (b *builder) system() error {
	mounts := []struct{ dir, kind, options string }{
		{"/proc", "proc", ""},
		{"/sys", "sysfs", ""},
		{"/run", "tmpfs", "mode=755"},
	}
	for _, m := range mounts {
		if err := os.MkdirAll(stage+m.dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, stage+m.dir, m.kind, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, m.options); err != nil {
			return fmt.Errorf("mount the node's %s: %w; a container runtime that hides parts of %s forbids it", m.dir, err, m.dir)
		}
	}
	return nil
}

func (b *builder) fresh() error {
	for _, dir := range b.plan.FreshDirs {
		if err := os.MkdirAll(stage+dir, 0o755); err != nil {
			return err
		}
		if top(dir) == "run" {
			continue
		}
		if err := unix.Mount("tmpfs", stage+dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
			return fmt.Errorf("mount an empty %s: %w", dir, err)
		}
	}
	return nil
}

// generated covers files with ours. They are bound, not written into the overlay:
// a file of another user cannot be replaced inside a user namespace.
func (b *builder) generated() error {
	for i, file := range b.plan.Files {
		source := fmt.Sprintf("%s%s/file%d", stage, upper, i)
		if err := os.WriteFile(source, []byte(file.Content), 0o644); err != nil {
			return err
		}
		if err := b.bindOver(wire.Bind{Source: source, Target: file.Path}); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) binds() error {
	for _, bind := range b.plan.Binds {
		if err := b.bindOver(bind); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) bindOver(v wire.Bind) error {
	target := stage + v.Target
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	if v.Dir {
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
	} else if err := touch(target); err != nil {
		return err
	}
	if err := bind(v.Source, target); err != nil {
		return err
	}
	if !v.ReadOnly {
		return nil
	}
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(unix.AT_FDCWD, target, unix.AT_RECURSIVE, attr); err != nil {
		return fmt.Errorf("make %s read-only: %w", v.Target, err)
	}
	return nil
}

// pivot makes the new root the root, and drops the old one.
func (b *builder) pivot() error {
	old := stage + upper + "/host"
	if err := os.Mkdir(old, 0o700); err != nil {
		return err
	}
	if err := unix.PivotRoot(stage, old); err != nil {
		return fmt.Errorf("change to the node's root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if err := unix.Unmount(upper+"/host", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the host's root: %w", err)
	}
	return os.Remove(upper + "/host")
}

func bind(from, to string) error {
	if err := unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind %s to %s: %w", from, strings.TrimPrefix(to, stage), err)
	}
	return nil
}

// touch makes an empty file unless something is there.
func touch(path string) error {
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// below tells whether path is inside dir.
func below(path, dir string) bool { return strings.HasPrefix(path, dir+"/") }

// top is the first element of an absolute path.
func top(path string) string {
	t, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return t
}

// resolve follows the host's symlinks in as much of path as exists, so that
// /var/run/frr becomes /run/frr.
func resolve(path string) string {
	path = filepath.Clean(path)
	rest := ""
	for dir := path; ; dir = filepath.Dir(dir) {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			return filepath.Join(real, rest)
		}
		if dir == "/" {
			return path
		}
		rest = filepath.Join(filepath.Base(dir), rest)
	}
}
