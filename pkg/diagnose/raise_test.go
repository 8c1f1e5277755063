package diagnose

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// eachFile parses every file of the project that ships.
func eachFile(t *testing.T, do func(path string, fset *token.FileSet, f *ast.File)) {
	t.Helper()
	root := filepath.Join("..", "..")
	for _, dir := range []string{"pkg", "cmd", "internal"} {
		require.NoError(t, filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, path, nil, 0)
			if err == nil {
				do(filepath.ToSlash(path), fset, f)
			}
			return err
		}))
	}
}

// TestFindingsAreRaisedThroughChecks: no site but raise makes a finding of its own
// code, and none names a severity for one.
func TestFindingsAreRaisedThroughChecks(t *testing.T) {
	made := 0
	eachFile(t, func(path string, fset *token.FileSet, f *ast.File) {
		ast.Inspect(f, func(n ast.Node) bool {
			switch x := n.(type) {
			case *ast.CompositeLit:
				if nameOf(x.Type) != "Finding" || len(x.Elts) == 0 {
					return true
				}
				for _, e := range x.Elts {
					if kv, ok := e.(*ast.KeyValueExpr); ok && (nameOf(kv.Key) == "Code" || nameOf(kv.Key) == "Severity") {
						if made++; !strings.HasSuffix(path, "pkg/diagnose/finding.go") {
							t.Errorf("%s makes a finding by hand: use Found", fset.Position(x.Pos()))
						}
						return true
					}
				}
			case *ast.AssignStmt:
				for i, l := range x.Lhs {
					if nameOf(l) == "Severity" && i < len(x.Rhs) && strings.HasPrefix(nameOf(x.Rhs[i]), "Severity") {
						t.Errorf("%s gives a finding a severity: the check has it", fset.Position(x.Pos()))
					}
				}
			}
			return true
		})
	})
	require.Equal(t, 1, made, "raise alone")
}

func nameOf(e ast.Expr) string {
	switch x := e.(type) {
	case *ast.Ident:
		return x.Name
	case *ast.SelectorExpr:
		return x.Sel.Name
	}
	return ""
}

// code is how a code is spelled; every constant named Code… that holds one is asked
// for, wherever it stands.
var code = regexp.MustCompile(`^[a-z]+(-[a-z]+)+$`)

// TestEveryCodeIsExplained: every code the project can print is known to explain.
func TestEveryCodeIsExplained(t *testing.T) {
	seen := map[string]bool{}
	eachFile(t, func(path string, fset *token.FileSet, f *ast.File) {
		ast.Inspect(f, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if !ok || len(v.Values) != len(v.Names) {
				return true
			}
			for i, name := range v.Names {
				lit, ok := v.Values[i].(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING || !strings.HasPrefix(name.Name, "Code") {
					continue
				}
				s, err := strconv.Unquote(lit.Value)
				require.NoError(t, err)
				if !code.MatchString(s) {
					continue
				}
				seen[s] = true
				if Lookup(s) == nil {
					t.Errorf("%s: explain does not know %s", fset.Position(v.Pos()), s)
				}
			}
			return true
		})
	})
	require.Greater(t, len(seen), 50)
}

// TestEveryCheckIsListed: no check stands in a file and is in no list.
func TestEveryCheckIsListed(t *testing.T) {
	listed := map[string]bool{}
	for _, c := range Checks() {
		require.False(t, listed[c.Code], "%s is listed twice", c.Code)
		listed[c.Code] = true
	}
	found := 0
	eachFile(t, func(path string, fset *token.FileSet, f *ast.File) {
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			ast.Inspect(g, func(n ast.Node) bool {
				x, ok := n.(*ast.CompositeLit)
				if !ok {
					return true
				}
				if nameOf(x.Type) == "Check" {
					found++
				}
				if a, ok := x.Type.(*ast.ArrayType); ok {
					if p, ok := a.Elt.(*ast.StarExpr); ok && nameOf(p.X) == "Check" {
						for _, e := range x.Elts {
							if one, ok := e.(*ast.CompositeLit); ok && one.Type == nil {
								found++
							}
						}
					}
				}
				return true
			})
		}
	})
	require.Equal(t, len(listed), found, "checks written and checks listed")
}
