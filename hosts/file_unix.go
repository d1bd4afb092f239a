//go:build unix

package hosts

import (
	"os"
	"syscall"
)

// keepOwner gives out the owner and group of the file at path. Where they are the same already nothing is tried.
func keepOwner(path string, out *os.File) error {
	want, err := os.Stat(path)
	if err != nil {
		return err
	}
	have, err := out.Stat()
	if err != nil {
		return err
	}
	w, ok := want.Sys().(*syscall.Stat_t)
	h, also := have.Sys().(*syscall.Stat_t)
	if !ok || !also || w.Uid == h.Uid && w.Gid == h.Gid {
		return nil
	}
	return out.Chown(int(w.Uid), int(w.Gid))
}
