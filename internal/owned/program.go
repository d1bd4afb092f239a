package owned

import "os"

// Program opens a program's file that nobody can change but root (the system, on Windows) and whoever owns the file like,
// who could as well change that one. Others may read it.
func Program(path, like string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := checkProgram(f, like); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
