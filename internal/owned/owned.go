// Package owned tells whose a file is: whether anybody but the person and the system could have changed it, or can read it.
// What it lets through was written by them, or by somebody they let.
package owned

import (
	"fmt"
	"io"
	"os"
)

// Read reads a regular file of at most limit bytes that only the person and the system can change, at the end of a way of
// which the same is true. Others may read it. The FileInfo is that of the file which was read.
func Read(path string, limit int64) ([]byte, os.FileInfo, error) { return read(path, limit, false) }

// ReadPrivate is Read for a file that nobody else can read either.
func ReadPrivate(path string, limit int64) ([]byte, os.FileInfo, error) {
	return read(path, limit, true)
}

func read(path string, limit int64, private bool) ([]byte, os.FileInfo, error) {
	f, err := open(path, private)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = fmt.Errorf("it is longer than %d bytes", limit)
	}
	return content, info, err
}
