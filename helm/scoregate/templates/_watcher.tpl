{{/*
One pod that looks at what a service decides, in its ledger and with its stable image and model. Takes root, name,
part (which is its component after the service's name), command (a list), port.
*/}}
{{- define "scoregate.watcher" -}}
{{- $root := .root }}
{{- $named := dict "root" .root "name" (printf "%s-%s" .name .part) }}
{{- $stable := (include "scoregate.arms" . | fromYaml).arms | first }}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "scoregate.name" $named }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "scoregate.labels" $named | nindent 4 }}
spec:
  replicas: 1
  revisionHistoryLimit: 3
  strategy:
    type: Recreate
  selector:
    matchLabels:
      {{- include "scoregate.selector" $named | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "scoregate.podLabels" $named | nindent 8 }}
      annotations:
        checksum/config: {{ include "scoregate.env" . | sha256sum }}
    spec:
      serviceAccountName: {{ include "scoregate.name" . }}
      automountServiceAccountToken: false
      enableServiceLinks: false
      securityContext:
        {{- include "scoregate.podSecurity" . | nindent 8 }}
      {{- with $root.Values.image.pullSecrets }}
      imagePullSecrets:
        {{- range . }}
        - name: {{ . }}
        {{- end }}
      {{- end }}
      containers:
        - name: {{ .part }}
          image: {{ $stable.image | quote }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          command: {{ toJson .command }}
          ports:
            - name: http
              containerPort: {{ .port }}
          envFrom:
            - configMapRef:
                name: {{ include "scoregate.name" . }}
          env:
            - name: SCOREGATE_MODEL_DIR
              value: {{ printf "%s/%s" $root.Values.models.root $stable.model | quote }}
            {{- include "scoregate.ledgerEnv" . | trim | nindent 12 }}
          readinessProbe:
            tcpSocket:
              port: http
            periodSeconds: 5
          livenessProbe:
            tcpSocket:
              port: http
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 3
          resources:
            requests: {cpu: 50m, memory: 128Mi}
            limits: {memory: 512Mi}
          securityContext:
            {{- include "scoregate.containerSecurity" . | nindent 12 }}
          volumeMounts:
            - name: tmp
              mountPath: /tmp
            - name: home
              mountPath: /var/lib/scoregate
            {{- if $root.Values.models.existingClaim }}
            - name: models
              mountPath: {{ $root.Values.models.root | quote }}
              readOnly: true
            {{- end }}
      volumes:
        - name: tmp
          emptyDir: {}
        # What was read of the ledger; a new pod reads it again.
        - name: home
          emptyDir: {}
        {{- with $root.Values.models.existingClaim }}
        - name: models
          persistentVolumeClaim:
            claimName: {{ . }}
            readOnly: true
        {{- end }}
{{- end }}
