package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// overlays covers the top-level directories that nodes write to or that lack
// mount points.
func (b *builder) overlays() error {
	for t, places := range b.places {
		dir := "/" + t
		if err := os.Mkdir(stage+dir, 0o755); err != nil {
			return err
		}
		err := b.overlay(dir, places)
		if err != nil && b.plan.OwnUserNS {
			err = farm(dir, places)
		}
		if err != nil {
			return fmt.Errorf("make the node's %s: %w", dir, err)
		}
	}
	return os.Chmod(stage+upper, 0o700)
}

// overlay mounts an overlay over dir. The mount points are made in the upper layer
// before: inside a user namespace the host's directories cannot be written to,
// even through an overlay, but a directory that the upper layer has is ours.
func (b *builder) overlay(dir string, places []place) error {
	up, work := stage+upper+dir+"/up", stage+upper+dir+"/work"
	for _, d := range []string{up, work} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	for _, p := range places {
		if err := makeIn(up, dir, p); err != nil {
			return fmt.Errorf("make a mount point for %s: %w", p.path, err)
		}
	}
	options := "lowerdir=" + dir + ",upperdir=" + up + ",workdir=" + work
	if b.plan.OwnUserNS {
		options += ",userxattr"
	}
	if err := unix.Mount("overlay", stage+dir, "overlay", 0, options); err != nil {
		return fmt.Errorf("mount an overlay: %w", err)
	}
	return showMountsBelow(dir)
}

// farm shows dir in the new root entry by entry, with room for new ones. It stands
// in for an overlay where a user namespace cannot have one: before Linux 5.11, and
// over a directory with other mounts in it, like /etc in a container. Files that
// exist are the host's, so only what the user may write anyway is written through.
func farm(dir string, places []place) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrPermission) { // then the user sees nothing in it, here as there
		return err
	}
	for _, e := range entries {
		path := dir + "/" + e.Name()
		inside := slices.ContainsFunc(places, func(p place) bool { return below(p.path, path) })
		if !inside || !e.IsDir() {
			err = show(path, stage+path, e.Type())
		} else if err = os.Mkdir(stage+path, 0o755); err == nil {
			err = farm(path, places)
		}
		if err != nil {
			return err
		}
	}
	for _, p := range places {
		if below(p.path, dir) {
			if err := makeIn(stage+dir, dir, p); err != nil {
				return fmt.Errorf("make a mount point for %s: %w", p.path, err)
			}
		}
	}
	return nil
}

// makeIn makes p in up, which stands for the directory root, with the modes of
// the host's directories where they exist.
func makeIn(up, root string, p place) error {
	rel := strings.TrimPrefix(p.path, root)
	parts := strings.Split(strings.Trim(rel, "/"), "/")
	path := ""
	for i, part := range parts {
		path += "/" + part
		if i == len(parts)-1 && !p.dir {
			return touch(up + path)
		}
		mode := fs.FileMode(0o755)
		if st, err := os.Stat(root + path); err == nil {
			mode = st.Mode().Perm()
		}
		if err := os.Mkdir(up+path, mode); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// showMountsBelow repeats the host's mounts below dir, which an overlay does not
// cross: resolv.conf and hosts inside a container are such mounts. Those that the
// caller may not reach are left out, as the host leaves them out for it.
func showMountsBelow(dir string) error {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		if len(fields) < 5 || !strings.HasPrefix(fields[4], dir+"/") || strings.Contains(fields[4], `\`) {
			continue
		}
		if _, err := os.Stat(stage + fields[4]); err == nil {
			_ = bind(fields[4], stage+fields[4])
		}
	}
	return nil
}
