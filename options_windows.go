package main

import (
	"fmt"
	"io/fs"
)

// private refuses what is not a directory. Who may write to it follows from the profile it lies in.
func private(dir string, info fs.FileInfo) error {
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", dir)
	}
	return nil
}
