package peer

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// maxHashed bounds the size of a file that is hashed, in bytes. A larger one has no hash and so no key.
const maxHashed = 1 << 30

// maxHashes bounds how many hashes are remembered.
const maxHashes = 512

// fileID names one content of one file: every ordinary way to write to it changes one of these.
type fileID struct {
	dev, ino     uint64
	size         int64
	mtime, ctime int64 // nanoseconds since 1970
}

// lasting is the ID without what changes when a file is renamed or removed (which changes only ctime).
func (id fileID) lasting() fileID { id.ctime = 0; return id }

// hashes remembers the SHA-256 of files, so that a large executable is read once.
type hashes struct {
	mu   sync.Mutex // held while hashing: the same file is not read twice at once
	sums map[fileID]string
}

// of returns the SHA-256 of f in hex, and which content that is of.
func (h *hashes) of(f *os.File) (string, fileID, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before, err := idOfFile(f)
	if err != nil {
		return "", fileID{}, err
	}
	if sum := h.sums[before]; sum != "" {
		return sum, before, nil
	}
	if before.size > maxHashed {
		return "", fileID{}, errors.New("too large to hash")
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, io.LimitReader(f, maxHashed+1)); err != nil {
		return "", fileID{}, err
	}
	if after, err := idOfFile(f); err != nil || after != before {
		return "", fileID{}, errors.New("written to while it was read")
	}
	sum := hex.EncodeToString(hash.Sum(nil))
	// A file changed in the last moments can change once more within the same tick of the file system's clock: its ID
	// does not name its content yet.
	if time.Since(time.Unix(0, max(before.ctime, before.mtime))) < 2*time.Second {
		return sum, before, nil
	}
	if h.sums == nil || len(h.sums) >= maxHashes {
		h.sums = map[fileID]string{}
	}
	h.sums[before] = sum
	return sum, before, nil
}

// script is a file that an interpreter runs.
type script struct {
	path   string // real path
	launch bool   // it belongs to the system and is a launcher, like npx
	hash   string
	id     fileID
	hashes *hashes
}

// check reports whether the script's content is what it was.
func (s *script) check() error {
	id, err := idOfPath(s.path)
	if err == nil && id == s.id {
		return nil
	}
	f, err := openPath(s.path)
	if err != nil {
		return errChanged
	}
	defer f.Close()
	if hash, _, err := s.hashes.of(f); err != nil || hash != s.hash {
		return errChanged
	}
	return nil
}

func (s *script) close() {}
